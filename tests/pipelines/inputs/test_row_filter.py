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
    "true": ["a", "b", "c", "d"],
    "width * width * width * width > 62400000000": ["d"],  # 500 ** 4 has 36 bits
    "array_length(ocr) - 2 < 0": ["a", "b"],  # lengths have no sign of their own
    "array_length(ocr) - length(key) > 0": ["c"],
    "width - 301 < 0": ["a"],
    "length(caption) - 6 < 0": ["a", "d"],
    "strpos(caption, 'dog') - 4 < 0": ["a", "b", "c", "d"],  # 0 where there is none
    "octet_length(caption) - 6 < 0": ["a", "d"],
    "width > 300 AND (caption = 'x' OR NULL)": [],
    "caption <> 'a dog'": ["b", "d"],
    "array_get(ocr, 1) IS NOT NULL AND caption <> 'now (' AND key <> 'current_date'": ["b"],
    "array_contains(string_to_array(caption, ' '), 'dog')": ["a"],
    "caption RLIKE '^[0-9]+%'": ["b"],
    "width % 0 = 1 OR width / 0 < 1": [],
    "round(sqrt(abs(width)), 1) BETWEEN 10 AND 20": ["a", "b", "c"],
    "substr(caption, 3, 3) = 'dog' OR left(caption, 20) = 'it''s'": ["a", "d"],
    "CAST(width AS DECIMAL(38, 2)) > 400.5": ["d"],
    "split_part(caption, ' ', 2) = 'dog'": ["a"],
    "CASE WHEN upper(left(caption, 1)) = 'A' THEN 1 ELSE 0 END = 1": ["a"],
    "extract(day FROM date('2024-03-31')) * 100 > 3000": ["a", "b", "c", "d"],
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
    "corr(width, width) > 0": "--where: .* holds the function Boolean.Any, which is not taken: give a condition on .*",
    "covar(width, width) > 0": "--where: .* holds the function Correlation.method, which is not taken: .*",
    "quantile_cont(width, 0.5) > 0": "--where: .* holds the function Quantile.method, which is not taken: .*",
    "row_number() > 1": "--where: .* holds .*",
    "width > lag(width) OVER (ORDER BY key)": "--where: .* holds a window function: .*",
    "array_agg(width) IS NULL": "--where: .* holds an aggregate: .*",
    "first(width) > 1": "--where: .* holds an aggregate: .*",
    "DISTINCT width > 1": "--where: .* is no condition: .*",
    "width > ?": "--where: .* is no condition: .*",
    "width > $1": "--where: .* is no condition: .*",
    "read_parquet('x') = 1": "--where: .* is no condition: .*",
    "current_date > '2020-01-01'": r"--where: .* reads the clock \(current_date\): give a date, so that each run .*",
    "width > 1 OR NOW() IS NULL": r"--where: .* reads the clock \(NOW\): .*",
    "current_timestamp > '2020-01-01'": r"--where: .* reads the clock \(current_timestamp\): give a date, .*",
    "width::decimal(99, 98) > 1": "--where: .* has a decimal of more than 38 digits: use fewer, or DOUBLE",
    "string_agg(caption, ',') = 'a'": "--where: .* holds .*",
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
        ("width", "--where: 'width' is Int64, not true or false: compare it with something"),
        ("width > key", "--where: 'width > key' does not fit the columns: .*"),
    ],
)
def test_columns_are_checked_without_rows(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RowFilter.parse(text).check_columns(TABLE.schema)


def test_a_file_with_other_columns_than_the_first() -> None:
    """Sets of several versions may have such files."""
    found = RowFilter.parse("width > 300")
    with pytest.raises(UsageError, match=r"^--where: there is no column 'width': the columns are key, caption, ocr$"):
        found.apply(TABLE.drop_columns(["width"]))
    assert found.apply(TABLE.set_column(1, "width", pa.nulls(4))).num_rows == 0
    assert found.apply(TABLE.set_column(1, "width", pa.array([1, 1 << 40, None, 0])))["key"].to_pylist() == ["b"]


def test_columns_that_the_condition_does_not_name_may_hold_anything() -> None:
    """No frame is made of them: some types have none."""
    odd = pa.nulls(4, pa.month_day_nano_interval())
    assert RowFilter.parse("width > 300").apply(TABLE.append_column("odd", odd))["key"].to_pylist() == ["b", "c", "d"]


def test_a_value_that_fails_is_named() -> None:
    found = RowFilter.parse("CAST(caption AS INT) > 1")
    found.check_columns(TABLE.schema)
    with pytest.raises(UsageError, match=r"--where: 'CAST\(caption AS INT\) > 1' fails on a row: .*"):
        found.apply(TABLE)
