"""Renders a batch of annotations by a caption family: into rows of its published layout, and faults of other rows."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.family import BaseCaptionOptions, CaptionFamily, CaptionOptions, Columns, ItemThreshold
from curation.captions.lists import has_few, keep_above
from pipelines.render.base_captions import ShardBaseCaptions, make_no_caption_fault, read_identities
from pipelines.render.faults import Faults, add_fault, add_faults, find_engine_faults, find_missing_urls
from pipelines.render.rendering import Rendering
from pipelines.render.written import take_written
from schemas.errors import ShardloomError, to_one_line
from schemas.records.quarantine import Reason, Rejected


class RenderedBatch(NamedTuple):
    """Holds the captions of the good rows, and for each annotation row its fault, or None."""

    captions: pa.Table
    faults: Faults
    counts: dict[str, int]  # of sentences that were dropped, and of captions that changed by it


def render_batch(
    table: pa.Table,
    rendering: Rendering,
    schema: pa.Schema,
    bases: ShardBaseCaptions | None,
    min_items: int | None = None,
) -> RenderedBatch:
    """Renders a batch. Raises `ShardloomError` if the family does not keep to its layout.

    `bases` are the captions of another data set for these images; None for captions of the pass, or over the alt text.
    `min_items` overrides the option for the minimum number of items per image.
    """
    family, options = rendering.family, rendering.recipe.options
    faults = find_engine_faults(table, family.column)
    annotations = table
    if family.threshold is not None:
        items = _apply_threshold(table[family.column], family.threshold, options, min_items, faults)
        table = table.set_column(table.schema.get_field_index(family.column), family.column, items)
    for kind in rendering.prompt.list_inputs() if rendering.prompt else ():
        add_faults(faults, find_engine_faults(table, kind))
    if family.needs_url:
        add_faults(faults, find_missing_urls(table))
    found = _find_captions(annotations, rendering, bases, faults)
    good = pa.array([fault is None for fault in faults], pa.bool_())
    table, annotations = table.filter(good), annotations.filter(good)
    counts: dict[str, int] = {}
    if found is not None:
        found = found.filter(good)
        if rendering.cleaner is not None:
            found, counts = rendering.cleaner.clean(annotations, found)
            if not isinstance(options, BaseCaptionOptions):  # those have places to tell beside an empty caption
                table, found = _leave_out_emptied(table, found, faults)
    columns = family.render(table, options, found)
    return RenderedBatch(build_published_table(table, family, columns, schema), faults, counts)


def _apply_threshold(
    column: pa.ChunkedArray, enough: ItemThreshold, options: CaptionOptions, min_items: int | None, faults: Faults
) -> pa.ListArray:
    """Returns the items that are not below the floor, and adds the faults of rows with too few of them."""
    floor = getattr(options, enough.min_score_option)
    min_items = getattr(options, enough.min_count_option) if min_items is None else min_items
    items = keep_above(column, enough.score, floor)
    few = f"fewer than {min_items} {enough.items} of {enough.score} {floor:g} or more"
    add_fault(faults, has_few(items, min_items), Rejected(enough.reason, few))
    return items


def _find_captions(
    table: pa.Table, rendering: Rendering, bases: ShardBaseCaptions | None, faults: Faults
) -> pa.StringArray | None:
    """Returns the captions that models wrote, None for captions over the alt text. Adds the faults of rows without."""
    options = rendering.recipe.options
    if rendering.caption_name is not None:
        found, missing = take_written(table, rendering.caption_name)
        add_faults(faults, missing)
        return found
    if bases is None or not isinstance(options, BaseCaptionOptions):
        return None
    found = pa.array(map(bases.get_caption, table["key"].to_pylist()), pa.string())
    for row in pc.indices_nonzero(pc.is_null(found)).to_pylist():
        sample = read_identities(table.slice(row, 1), "")[0]
        faults[row] = (
            faults[row] or bases.faults.get(sample.key or "") or make_no_caption_fault(sample, options.caption_from)
        )
    return found


def _leave_out_emptied(table: pa.Table, captions: pa.StringArray, faults: Faults) -> tuple[pa.Table, pa.StringArray]:
    """Returns the rows whose captions have a sentence left, and adds the faults of the others."""
    is_left = pc.not_equal(captions, "")
    good = [row for row, fault in enumerate(faults) if fault is None]
    for place in pc.indices_nonzero(pc.invert(is_left)).to_pylist():
        faults[good[place]] = Rejected(Reason.NO_CAPTION, "each of its sentences leaks the prompt or is contradicted")
    return table.filter(is_left), captions.filter(is_left)


def build_published_table(table: pa.Table, family: CaptionFamily, columns: Columns, schema: pa.Schema) -> pa.Table:
    """Builds rows in the family's layout. Raises `ShardloomError` if a user's family does not keep to it."""
    try:
        return pa.table({name: table[name] for name in ("uid", "url", "key", "sha256")} | dict(columns), schema=schema)
    except (pa.ArrowException, KeyError, TypeError) as error:
        reason = to_one_line(error, 200)
        raise ShardloomError(f"the family {family.name} renders other columns than its layout has: {reason}") from None
