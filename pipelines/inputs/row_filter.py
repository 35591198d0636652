"""Chooses rows by a condition that a user writes in polars' SQL, such as `width > 300 AND array_length(ocr) > 2`.

The condition is parsed and checked before any row is read. Nothing in it is ever run as Python: only comparisons,
arithmetic, CASE, casts and scalar functions of the columns pass, so that it holds for one row at a time.
"""

import json
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
        except (pl.exceptions.PolarsError, ValueError, RecursionError) as error:
            raise UsageError(f"--where: {text!r} is no condition: {to_one_line(error)}") from None
        _check_node(tree, text)
        return cls(text, expression)

    def check_columns(self, schema: pa.Schema) -> None:
        """Raises `UsageError` if rows of this schema have no such columns, or the expression is not true or false."""
        import polars as pl

        if absent := [name for name in self.list_columns() if name not in schema.names]:
            raise UsageError(f"--where: there is no column {absent[0]!r}: the columns are {', '.join(schema.names)}")
        try:
            kind = pl.DataFrame(schema.empty_table()).select(self.expression).to_series().dtype
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"--where: {self.text!r} does not fit the columns: {to_one_line(error)}") from None
        if kind != pl.Boolean:
            raise UsageError(f"--where: {self.text!r} is {kind}, not true or false: compare it with something")

    def list_columns(self) -> list[str]:
        """Returns the names of the columns that the condition is about."""
        return list(dict.fromkeys(self.expression.meta.root_names()))

    def apply(self, table: pa.Table) -> pa.Table:
        """Returns the rows for which the condition is true. Raises `UsageError` if a value makes it fail."""
        return table.filter(self.mark(table))

    def mark(self, table: pa.Table) -> pa.Array:
        """Returns for each row whether the condition is true. Raises `UsageError` if a value makes it fail."""
        import polars as pl

        try:
            mask = pl.DataFrame(table).select(self.expression).to_series()
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"--where: {self.text!r} fails on a row: {to_one_line(error)}") from None
        if len(mask) != table.num_rows:
            mask = mask.new_from_index(0, table.num_rows)  # a condition without columns, which is one value for all
        return mask.fill_null(value=False).to_arrow()


def _check_node(node: Any, text: str) -> None:
    """Raises `UsageError` for a node that does not give one value for each row by that row alone."""
    name, fields = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else (str(node), None)
    if name in _LEAVES:
        return
    if name not in _OPERANDS or not isinstance(fields, dict):
        what = _REFUSED.get(name, f"{name}, which is not taken")
        raise UsageError(f"--where: {text!r} holds {what}: give a condition on single rows, such as width > 300")
    for operand in _OPERANDS[name]:
        below = fields[operand]
        for each in below if isinstance(below, list) else [below]:
            _check_node(each, text)
