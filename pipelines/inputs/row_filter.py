"""Chooses rows by a condition that a user writes in polars' SQL, such as `width > 300 AND array_length(ocr) > 2`.

The condition is parsed and checked before any row is read. Nothing in it is ever run as Python: only comparisons,
arithmetic, CASE, casts and scalar functions of the columns pass, so that it holds for one row at a time.
"""

import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from schemas.errors import UsageError, to_one_line

if TYPE_CHECKING:
    import polars as pl

MAX_CHARACTERS = 1000
"""The longest condition: the parser and the checks recurse, and a person types far less."""

_OPERANDS = {
    "BinaryExpr": ("left", "right"),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Cast": ("expr",),
    "Function": ("input",),
}
"""The nodes of polars' expression trees that are taken, with the fields that hold their operands."""

_LEAVES = frozenset(["Column", "Literal"])

_FUNCTIONS = """
    Abs Atan2 Ceil Coalesce Exp FillNull Floor Log Log1p MaxHorizontal MinHorizontal Negate Sign Bitwise.CountOnes
    Clip.has_min Boolean.AllHorizontal Boolean.AnyHorizontal Boolean.IsBetween Boolean.IsClose Boolean.IsFinite
    Boolean.IsIn Boolean.IsInfinite Boolean.IsNan Boolean.IsNotNan Boolean.IsNotNull Boolean.IsNull Boolean.Not
    Sql.Binary Sql.IsIn Sql.Round Sql.ToFloat
"""
"""The functions that are taken: those of one row alone, which no method of polars tells from `corr` or a quantile."""

_GROUPS = "ListExpr Pow StringExpr StructExpr TemporalExpr Trigonometry"
"""The groups of functions that are taken as well, without the one that joins the texts of all rows."""

_JOINS_ROWS = "StringExpr.ConcatVertical"

_SMALL_NUMBERS = """
    Bitwise.CountOnes ListExpr.CountMatches ListExpr.Length
    StringExpr.CountMatches StringExpr.Find StringExpr.LenBytes StringExpr.LenChars
    TemporalExpr.Century TemporalExpr.Day TemporalExpr.Hour TemporalExpr.IsoYear TemporalExpr.Microsecond
    TemporalExpr.Millennium TemporalExpr.Millisecond TemporalExpr.Minute TemporalExpr.Month TemporalExpr.Nanosecond
    TemporalExpr.OrdinalDay TemporalExpr.Quarter TemporalExpr.Second TemporalExpr.Week TemporalExpr.WeekDay
    TemporalExpr.Year
"""
"""The functions whose results have few bits or no sign: `array_length(ocr) - 2` would never be less than nothing."""

_CLOCK = re.compile(r"\b(?:current_(?:date|time|timestamp)\b|(?:localtime|localtimestamp|now|today)(?= *\())", re.I)
"""Reads a clock: a run that is resumed would choose other rows."""

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")

_REFUSED = {
    "Agg": "an aggregate",
    "Len": "an aggregate",
    "Over": "a window function",
    "Window": "a window function",
    "Explode": "a function that makes several rows of one",
    "SubPlan": "a query",
    "Alias": "a name for the result",
    "Selector": "a selection of columns",
}

_DECIMAL_DIGITS = 38

_GIVE_ONE = "give a condition on single rows, such as width > 300"


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Holds a condition on single rows."""

    text: str
    expression: "pl.Expr"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses a condition. Raises `UsageError` for anything that is not a plain expression."""
        import polars as pl  # half a second, which a command without a condition need not wait

        if len(text) > MAX_CHARACTERS:
            raise UsageError(f"--where: it has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
        try:
            expression = pl.sql_expr(text)
            tree = json.loads(expression.meta.serialize(format="json"))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, RecursionError) as error:
            raise UsageError(f"--where: {text!r} is no condition: {to_one_line(error)}") from None
        _check_node(tree, text)
        if clock := _CLOCK.search(_QUOTED.sub("", text)):
            raise UsageError(
                f"--where: {text!r} reads the clock ({clock[0]}): give a date, so that each run chooses the same rows"
            )
        if (widened := _widen(tree)) != tree:
            expression = pl.Expr.deserialize(io.StringIO(json.dumps(widened)), format="json")
        return cls(text, expression)

    def check_columns(self, schema: pa.Schema) -> None:
        """Raises `UsageError` if rows of this schema have no such columns, or the expression is not true or false."""
        import polars as pl

        found = self._evaluate(schema.empty_table(), "does not fit the columns")
        if found.dtype != pl.Boolean:
            raise UsageError(f"--where: {self.text!r} is {found.dtype}, not true or false: compare it with something")

    def list_columns(self) -> list[str]:
        """Returns the names of the columns that the condition is about."""
        return list(dict.fromkeys(self.expression.meta.root_names()))

    def apply(self, table: pa.Table) -> pa.Table:
        """Returns the rows for which the condition is true. Raises `UsageError` if a value makes it fail."""
        return table.filter(self.mark(table))

    def mark(self, table: pa.Table) -> pa.Array:
        """Returns for each row whether the condition is true. Raises `UsageError` if a value makes it fail."""
        mask = self._evaluate(table, "fails on a row")
        if not self.list_columns():
            mask = mask.new_from_index(0, table.num_rows)  # one value for all rows
        return mask.fill_null(value=False).to_arrow()

    def _evaluate(self, table: pa.Table, fault: str) -> "pl.Series":
        """Returns the value of the expression for each row. Whole numbers count as Int64, so that none overflows.

        Raises `UsageError` where rows of the table have no such columns, and one with `fault` where it has no value.
        """
        import polars as pl

        names, known = self.list_columns(), table.schema.names
        if absent := [name for name in names if name not in known]:
            raise UsageError(f"--where: there is no column {absent[0]!r}: the columns are {', '.join(known)}")
        try:
            frame = pl.DataFrame(table.select(names)).with_columns(pl.selectors.integer().cast(pl.Int64))
            return frame.select(self.expression).to_series()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise UsageError(f"--where: {self.text!r} {fault}: {to_one_line(error)}") from None


def _check_node(node: Any, text: str) -> None:
    """Raises `UsageError` for a node that does not give one value for each row by that row alone."""
    name, fields = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else (str(node), None)
    if name in _LEAVES:
        return
    if name not in _OPERANDS or not isinstance(fields, dict):
        what = _REFUSED.get(name, f"{name}, which is not taken")
        raise UsageError(f"--where: {text!r} holds {what}: {_GIVE_ONE}")
    if name == "Cast" and _has_too_many_digits(fields["dtype"]):  # which ends polars by a panic
        raise UsageError(f"--where: {text!r} has a decimal of more than {_DECIMAL_DIGITS} digits: use fewer, or DOUBLE")
    if name == "Function" and not _is_of_one_row(function := _name_function(fields["function"])):
        raise UsageError(f"--where: {text!r} holds the function {function}, which is not taken: {_GIVE_ONE}")
    for operand in _OPERANDS[name]:
        below = fields[operand]
        for each in below if isinstance(below, list) else [below]:
            _check_node(each, text)


def _has_too_many_digits(dtype: Any) -> bool:
    """Returns whether the type of a cast is a decimal with more digits than polars has, all or behind the point."""
    kind = dtype.get("Literal") if isinstance(dtype, dict) else None
    digits = kind.get("Decimal") if isinstance(kind, dict) else None
    return isinstance(digits, list) and any((each or 0) > _DECIMAL_DIGITS for each in digits)


def _name_function(function: Any) -> str:
    """Returns the name of a function of an expression tree, after its group: `Abs`, `ListExpr.Get`."""
    parts: list[str] = []
    while isinstance(function, dict) and len(parts) < 2:
        name, function = next(iter(function.items()))
        parts.append(name)
    return ".".join([*parts, function] if isinstance(function, str) and len(parts) < 2 else parts)


def _is_of_one_row(function: str) -> bool:
    is_in_group = function.partition(".")[0] in _GROUPS.split() and function != _JOINS_ROWS
    return is_in_group or function in _FUNCTIONS.split()


def _widen(node: Any) -> Any:
    """Returns the tree with the results of `_SMALL_NUMBERS` as Int64."""
    if isinstance(node, list):
        return [_widen(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {name: below if name in _LEAVES else _widen(below) for name, below in node.items()}
    if "Function" in found and _name_function(found["Function"]["function"]) in _SMALL_NUMBERS.split():
        return {"Cast": {"expr": found, "dtype": {"Literal": "Int64"}, "options": "Strict"}}
    return found
