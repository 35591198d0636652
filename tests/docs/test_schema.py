"""The page of columns is what the Arrow schemas are, and explains each column."""

from docs.schema import PAGE, SCHEMAS, columns, meanings, render_page


def test_the_page_shows_the_schemas() -> None:
    page = PAGE.read_text()
    assert render_page(page) == page, "run: python -m docs.schema"


def test_every_column_is_explained() -> None:
    told = meanings(PAGE.read_text())
    expected = {(title, name) for title, schema in SCHEMAS.items() for field in schema for name, *_ in columns(field)}
    assert told.keys() == expected
    assert [column for column, meaning in told.items() if not meaning] == []


def test_a_column_more_is_shown_without_a_meaning() -> None:
    page = PAGE.read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `detail` "))
    assert render_page(page.replace(f"{row}\n", "")) == page.replace(row, "| `detail` | string |  |  |")
