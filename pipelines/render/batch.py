"""What each family of captions makes of a batch of annotations: rows of its published layout, faults of the rest."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions import grounding, ocr
from curation.captions.families import Family
from pipelines.recipes.render import RenderGroundingRecipe, RenderRecipe
from schemas.records.quarantine import Reason, Rejected

AnyRenderRecipe = RenderRecipe | RenderGroundingRecipe

ENGINES: dict[Family, str] = {"ocr": "ocr", "grounding": "boxes"}
"""The engine, and the column, that a family's captions are made from."""

_IMAGE_COLUMNS = ("uid", "url", "key", "caption", "sha256")
COLUMNS: dict[Family, list[str]] = {
    "ocr": [*_IMAGE_COLUMNS, "ocr", "failures"],
    "grounding": [*_IMAGE_COLUMNS, "tags", "boxes", "failures"],
}
"""What is read of an annotation set."""


class Batch(NamedTuple):
    """Captions of the rows that have any, and for each row of the annotations what it lacks, if anything."""

    captions: pa.Table
    faults: list[Rejected | None]


def render_batch(table: pa.Table, recipe: AnyRenderRecipe, schema: pa.Schema, bases: dict[str, str] | None) -> Batch:
    """Renders a batch. `bases` are the captions of other data sets by uid; None for captions over the alt text."""
    if isinstance(recipe, RenderRecipe):
        return ocr_batch(table, recipe, schema)
    return grounding_batch(table, recipe, schema, bases)


def ocr_batch(table: pa.Table, recipe: RenderRecipe, schema: pa.Schema) -> Batch:
    """OCR captions of the images with enough text."""
    lines = ocr.keep_confident(table["ocr"], recipe.min_confidence)
    faults = engine_faults(table, "ocr")
    few = f"fewer than {recipe.min_lines} lines of confidence {recipe.min_confidence:g} or more"
    lay_over(faults, ocr.has_few_lines(lines, recipe.min_lines), Rejected(Reason.TOO_FEW_LINES, few))
    good = pa.array([fault is None for fault in faults])
    table, lines = table.filter(good), lines.filter(good)
    columns = ocr.render(lines, table["caption"], table["uid"], recipe.granularities, recipe.raw_caption)
    return Batch(published(table, columns._asdict(), schema), faults)


def grounding_batch(
    table: pa.Table, recipe: RenderGroundingRecipe, schema: pa.Schema, bases: dict[str, str] | None
) -> Batch:
    """Grounding captions of the images in which enough was found, and that have a caption to put places into."""
    boxes = grounding.keep_sure(table["boxes"], recipe.min_score)
    faults = engine_faults(table, "boxes")
    few = f"fewer than {recipe.min_boxes} boxes of score {recipe.min_score:g} or more"
    lay_over(faults, grounding.has_few_boxes(boxes, recipe.min_boxes), Rejected(Reason.TOO_FEW_BOXES, few))
    captions = table["caption"]
    if bases is not None:
        captions = pa.array([bases.get(uid) for uid in table["uid"].to_pylist()], pa.string())
        missing = Rejected(Reason.NO_CAPTION, f"no caption of its uid in {recipe.caption_from}")
        lay_over(faults, pc.is_null(captions), missing)
    good = pa.array([fault is None for fault in faults])
    table, boxes, captions = table.filter(good), boxes.filter(good), captions.filter(good)
    columns = grounding.render(
        boxes,
        table["caption"],
        table["tags"] if "tags" in table.column_names else None,
        None if bases is None else captions,
        recipe.granularities,
        recipe.raw_caption,
    )
    return Batch(published(table, {"cogvlm_caption": captions} | columns._asdict(), schema), faults)


def engine_faults(table: pa.Table, engine: str) -> list[Rejected | None]:
    """For each row, why it has none of an engine's annotations, if so."""
    faults: list[Rejected | None] = [None] * table.num_rows
    for row in pc.indices_nonzero(pc.is_null(table[engine])).to_pylist():
        faults[row] = Rejected(Reason.ENGINE_ERROR, f"{engine}: the engine failed on this image")
        for failure in table["failures"][row].as_py() if "failures" in table.column_names else []:
            if failure["engine"] == engine:
                faults[row] = Rejected(Reason(failure["reason"]), f"{engine}: {failure['detail']}")
    return faults


def lay_over(faults: list[Rejected | None], rows: pa.BooleanArray, fault: Rejected) -> None:
    """Gives the fault to these rows as far as they have none."""
    for row in pc.indices_nonzero(rows).to_pylist():
        faults[row] = faults[row] or fault


def published(table: pa.Table, columns: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """Rows of a published layout."""
    return pa.table({name: table[name] for name in ("uid", "url", "key", "sha256")} | columns, schema=schema)
