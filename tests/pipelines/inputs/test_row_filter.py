"""A condition chooses rows, and anything but a condition on single rows is refused before a row is read."""

import pyarrow as pa
import pytest

from pipelines.inputs.row_filter import MAX_CHARACTERS, RowFilter
from schemas.errors import UsageError

LINES = [[], [{"text": "a"}], [{"text": "a"}] * 3, None]
TABLE = pa.table(
    {
        "key": ["a", "b", "c", "d"],
        "width": pa.array([100, 301, 400, 500], pa.int32()),
        "caption": ["a dog", "50% off", None, "it's"],
        "ocr": LINES,
    }
)

CHOSEN = {
    "width > 300 AND array_length(ocr) > 2": ["c"],
    "width BETWEEN 301 AND 400": ["b", "c"],
    "caption LIKE '%dog%' OR width = 500": ["a", "d"],
    "caption = 'it''s'": ["d"],
    "caption IS NULL": ["c"],
    "ocr IS NULL": ["d"],
    "key IN ('a', 'd')": ["a", "d"],
    "NOT (width > 300)": ["a"],
    "length(caption) > 5": ["b"],
    "CASE WHEN width > 400 THEN true ELSE false END": ["d"],
    "CAST(width AS DOUBLE) / 100 > 4.5": ["d"],
    "1 = 1": ["a", "b", "c", "d"],
    "1 = 2": [],
}


@pytest.mark.parametrize("text", CHOSEN)
def test_chosen_rows(text: str) -> None:
    found = RowFilter.parse(text)
    found.check_columns(TABLE.schema)
    assert found.apply(TABLE)["key"].to_pylist() == CHOSEN[text]
    assert found.apply(TABLE.slice(0, 0)).num_rows == 0


REFUSED = {
    "": "--where: '' is no condition: .*",
    "SELECT 1": "--where: 'SELECT 1' is no condition: .*",
    "width > 1; DROP TABLE x": "--where: .* is no condition: .*",
    "width IN (SELECT width FROM df)": "--where: .* is no condition: .*",
    "EXISTS(SELECT 1)": "--where: .* holds a query: give a condition on single rows, .*",
    "read_csv('/etc/passwd') = 'x'": "--where: .* is no condition: .*",
    "__import__('os').system('true')": "--where: .* is no condition: .*",
    "*": r"--where: '\*' is no condition: .*",
    "COLUMNS('.*') > 1": "--where: .* holds a selection of columns: .*",
    "count(*) > 1": "--where: .* holds an aggregate: .*",
    "max(width) > 1": "--where: .* holds an aggregate: .*",
    "row_number() OVER (ORDER BY width) > 1": "--where: .* holds a window function: .*",
    "unnest(ocr) IS NULL": "--where: .* holds a function that makes several rows of one: .*",
    "width > 1 AS wide": "--where: .* holds a name for the result: .*",
    "(" * 400 + "width > 1": "--where: .* is no condition: .*",
    "width > " + "1" * MAX_CHARACTERS: "--where: it has 1,008 characters; at most 1,000 are read",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refused_texts(text: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[text]) as raised:
        RowFilter.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("height > 1", "--where: there is no column 'height': the columns are key, width, caption, ocr"),
        ("width", "--where: 'width' is Int32, not true or false: compare it with something"),
        ("width > key", "--where: 'width > key' does not fit the columns: .*"),
    ],
)
def test_columns_are_checked_without_rows(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RowFilter.parse(text).check_columns(TABLE.schema)


def test_a_value_that_fails_is_named() -> None:
    found = RowFilter.parse("CAST(caption AS INT) > 1")
    found.check_columns(TABLE.schema)
    with pytest.raises(UsageError, match=r"--where: 'CAST\(caption AS INT\) > 1' fails on a row: .*"):
        found.apply(TABLE)
