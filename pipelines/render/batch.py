"""Renders a batch of annotations by a caption family: into rows of its published layout, and faults of other rows."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.family import BaseCaptionOptions, CaptionFamily, CaptionOptions, Columns
from curation.captions.lists import has_few, keep_above
from curation.faithfulness.evidence import EVIDENCE_COLUMNS
from pipelines.render.base_captions import ShardBaseCaptions, make_no_caption_fault, read_identities
from pipelines.render.faithful import drop_sentences, drops_sentences
from schemas.errors import ShardloomError, to_one_line
from schemas.records.quarantine import Reason, Rejected


class RenderedBatch(NamedTuple):
    """Holds the captions of the good rows, and for each annotation row its fault, or None."""

    captions: pa.Table
    faults: list[Rejected | None]
    counts: dict[str, int]  # of sentences that were dropped, and of captions that changed by it


def list_columns(family: CaptionFamily, options: CaptionOptions) -> list[str]:
    """Returns the names of the columns to read from an annotation set, which need not have all of them."""
    evidence = EVIDENCE_COLUMNS if drops_sentences(options) else ()
    image = ("uid", "url", "key", "caption", "sha256", "width", "height")
    return list(dict.fromkeys([*image, *family.columns, *evidence, "failures"]))


def render_batch(
    table: pa.Table,
    family: CaptionFamily,
    options: CaptionOptions,
    schema: pa.Schema,
    bases: ShardBaseCaptions | None,
    min_items: int | None = None,
) -> RenderedBatch:
    """Renders a batch. Raises `ShardloomError` if the family does not keep to its layout.

    `bases` are the captions of another data set for these images; None for captions over the alt text. `min_items`
    overrides the option for the minimum number of items per image.
    """
    enough = family.threshold
    floor = getattr(options, enough.min_score_option)
    min_items = getattr(options, enough.min_count_option) if min_items is None else min_items
    items = keep_above(table[family.column], enough.score, floor)
    faults = find_engine_faults(table, family.column)
    few = f"fewer than {min_items} {enough.items} of {enough.score} {floor:g} or more"
    add_fault(faults, has_few(items, min_items), Rejected(enough.reason, few))
    found: pa.StringArray | None = None
    annotations = table
    if bases is not None and isinstance(options, BaseCaptionOptions):
        found = pa.array(map(bases.get_caption, table["key"].to_pylist()), pa.string())
        for row in pc.indices_nonzero(pc.is_null(found)).to_pylist():
            sample = read_identities(table.slice(row, 1), "")[0]
            faults[row] = (
                faults[row] or bases.faults.get(sample.key or "") or make_no_caption_fault(sample, options.caption_from)
            )
    table = table.set_column(table.schema.get_field_index(family.column), family.column, items)
    good = pa.array([fault is None for fault in faults], pa.bool_())
    table = table.filter(good)
    counts: dict[str, int] = {}
    if found is not None:
        found = found.filter(good)
        if drops_sentences(options):
            found, counts = drop_sentences(annotations.filter(good), found)
    columns = family.render(table, options, found)
    return RenderedBatch(build_published_table(table, family, columns, schema), faults, counts)


def find_engine_faults(table: pa.Table, engine: str) -> list[Rejected | None]:
    """Returns for each row why an engine's annotations are missing; None if they are there."""
    faults: list[Rejected | None] = [None] * table.num_rows
    for row in pc.indices_nonzero(pc.is_null(table[engine])).to_pylist():
        faults[row] = Rejected(Reason.ENGINE_ERROR, f"{engine}: the engine failed on this image")
        for failure in table["failures"][row].as_py() if "failures" in table.column_names else []:
            if failure["engine"] == engine:
                faults[row] = Rejected(Reason(failure["reason"]), f"{engine}: {failure['detail']}")
    return faults


def add_fault(faults: list[Rejected | None], rows: pa.BooleanArray, fault: Rejected) -> None:
    """Sets the fault of those of these rows that have none yet."""
    for row in pc.indices_nonzero(rows).to_pylist():
        faults[row] = faults[row] or fault


def build_published_table(table: pa.Table, family: CaptionFamily, columns: Columns, schema: pa.Schema) -> pa.Table:
    """Builds rows in the family's layout. Raises `ShardloomError` if a user's family does not keep to it."""
    try:
        return pa.table({name: table[name] for name in ("uid", "url", "key", "sha256")} | dict(columns), schema=schema)
    except (pa.ArrowException, KeyError, TypeError) as error:
        reason = to_one_line(error, 200)
        raise ShardloomError(f"the family {family.name} renders other columns than its layout has: {reason}") from None
