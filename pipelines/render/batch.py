"""Renders a batch of annotations by a caption family: into rows of its published layout, and faults of other rows."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.family import BaseCaptionOptions, CaptionFamily, CaptionOptions, Columns
from curation.captions.lists import has_few, keep_above
from pipelines.render.base_captions import Bases, identities_of, no_caption
from schemas.errors import ShardloomError, one_line
from schemas.records.quarantine import Reason, Rejected


class Batch(NamedTuple):
    """Holds the captions of the good rows, and for each annotation row its fault, or None."""

    captions: pa.Table
    faults: list[Rejected | None]


def columns_of(family: CaptionFamily) -> list[str]:
    """Returns the names of the columns to read from an annotation set."""
    return ["uid", "url", "key", "caption", "sha256", *family.columns, "failures"]


def render_batch(
    table: pa.Table,
    family: CaptionFamily,
    options: CaptionOptions,
    schema: pa.Schema,
    bases: Bases | None,
    least: int | None = None,
) -> Batch:
    """Renders a batch. Raises `ShardloomError` if the family does not keep to its layout.

    `bases` are the captions of another data set for these images; None for captions over the alt text. `least`
    overrides the option for the minimum number of items per image.
    """
    enough = family.enough
    floor = getattr(options, enough.floor)
    least = getattr(options, enough.least) if least is None else least
    items = keep_above(table[family.column], enough.score, floor)
    faults = engine_faults(table, family.column)
    few = f"fewer than {least} {enough.items} of {enough.score} {floor:g} or more"
    lay_over(faults, has_few(items, least), Rejected(enough.reason, few))
    found: pa.StringArray | None = None
    if bases is not None and isinstance(options, BaseCaptionOptions):
        found = pa.array(map(bases.caption, table["key"].to_pylist()), pa.string())
        for row in pc.indices_nonzero(pc.is_null(found)).to_pylist():
            sample = identities_of(table.slice(row, 1), "")[0]
            faults[row] = faults[row] or bases.faults.get(sample.key or "") or no_caption(sample, options.caption_from)
    table = table.set_column(table.schema.get_field_index(family.column), family.column, items)
    good = pa.array([fault is None for fault in faults], pa.bool_())
    table = table.filter(good)
    columns = family.render(table, options, None if found is None else found.filter(good))
    return Batch(published(table, family, columns, schema), faults)


def engine_faults(table: pa.Table, engine: str) -> list[Rejected | None]:
    """Returns for each row why an engine's annotations are missing; None if they are there."""
    faults: list[Rejected | None] = [None] * table.num_rows
    for row in pc.indices_nonzero(pc.is_null(table[engine])).to_pylist():
        faults[row] = Rejected(Reason.ENGINE_ERROR, f"{engine}: the engine failed on this image")
        for failure in table["failures"][row].as_py() if "failures" in table.column_names else []:
            if failure["engine"] == engine:
                faults[row] = Rejected(Reason(failure["reason"]), f"{engine}: {failure['detail']}")
    return faults


def lay_over(faults: list[Rejected | None], rows: pa.BooleanArray, fault: Rejected) -> None:
    """Sets the fault of those of these rows that have none yet."""
    for row in pc.indices_nonzero(rows).to_pylist():
        faults[row] = faults[row] or fault


def published(table: pa.Table, family: CaptionFamily, columns: Columns, schema: pa.Schema) -> pa.Table:
    """Builds rows in the family's layout. Raises `ShardloomError` if a user's family does not keep to it."""
    try:
        return pa.table({name: table[name] for name in ("uid", "url", "key", "sha256")} | dict(columns), schema=schema)
    except (pa.ArrowException, KeyError, TypeError) as error:
        reason = one_line(error, 200)
        raise ShardloomError(f"the family {family.name} renders other columns than its layout has: {reason}") from None
