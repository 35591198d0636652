"""Checks the captions of an annotation set against its annotations, for `shardloom evaluate captions`.

The captions are the alt texts, or those of another data set, found as `render --caption-from` finds them. A source is
the folder of the image shards.
"""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from curation.faithfulness.check import check_caption
from curation.faithfulness.evidence import EVIDENCE_COLUMNS, collect_evidence
from curation.scores.bootstrap import CONFIDENCE, DRAWS, SEED
from curation.scores.faithfulness import FaithfulnessCounts, FaithfulnessScore
from pipelines.inputs.caption_rows import IDENTITY_COLUMNS
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.render.base_captions import BaseCaptionFiles, read_identities
from pipelines.render.run import read_data
from pipelines.render.units import get_data_name
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import ALT_TEXT
from schemas.output_set.layout import DATA, MANIFESTS, read_manifests
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_parquet_schema, read_table

Row = dict[str, Any]


@dataclass(slots=True)
class CaptionedImages:
    """Counts the images of a set by what is known of them."""

    images: int = 0
    checked: int = 0  # with a caption
    without_caption: int = 0  # none, an empty one, or one that is unusable
    without_lines: int = 0  # of those checked: OCR did not run, or failed
    without_boxes: int = 0  # of those checked: the detector did not run, or failed


@dataclass(frozen=True, slots=True)
class CaptionEvaluation:
    """Holds the figures of the captions of a set, with the counts that they are based on."""

    annotations: str
    caption_from: str | None
    images: CaptionedImages
    scores: list[FaithfulnessScore]

    def to_dict(self) -> dict[str, Any]:
        """Returns the evaluation as plain data."""
        inputs = {"what": "captions", "annotations": self.annotations, "caption_from": self.caption_from}
        interval = {"confidence": CONFIDENCE, "draws": DRAWS, "seed": SEED, "method": "percentile bootstrap of images"}
        scores = [asdict(score) for score in self.scores]
        return inputs | {"images": asdict(self.images), "interval": interval, "captions": scores}


def evaluate_captions(
    annotations: str, caption_from: str | None = None, caption_column: str | None = None
) -> CaptionEvaluation:
    """Checks captions against the annotations of their images.

    Raises `UsageError` for a folder that is no annotation set, or has neither lines of text nor boxes, for unfit files
    of captions, and if no image has a caption.
    """
    if caption_column is not None and caption_from is None:
        raise UsageError("--caption-column: there are no files to take it from: pass --caption-from as well")
    folder = Folder(annotations)
    if (kind := read_stored_recipe(folder).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{folder.url} is not an annotation set: its kind is {format_value(kind)}")
    bases = None if caption_from is None else BaseCaptionFiles.open(caption_from, caption_column)
    counts, images = FaithfulnessCounts(), CaptionedImages()
    for source, row, caption in _read_captions(folder, bases):
        images.images += 1
        if not caption:
            images.without_caption += 1
            continue
        evidence = collect_evidence(row, with_alt_text=bases is not None)
        images.checked += 1
        images.without_lines += evidence.lines is None
        images.without_boxes += evidence.boxes is None
        counts.add(source, ALT_TEXT if bases is None else bases.column, check_caption(caption, evidence))
    if not images.checked:
        raise UsageError(f"{annotations}: none of its {images.images} images has a caption in {caption_from or 'it'}")
    return CaptionEvaluation(annotations, caption_from, images, counts.score())


def _read_captions(folder: Folder, bases: BaseCaptionFiles | None) -> Iterator[tuple[str, Row, str]]:
    """Yields the source, the annotations and the caption of each image; an empty caption where there is none."""
    manifests = read_manifests(folder).values()
    if not manifests:
        raise UsageError(f"{folder.url} holds no committed annotations ({MANIFESTS}/*.json)")
    for manifest in manifests:
        source = find_source(manifest)
        if (table := _read_rows(folder, manifest)) is None:
            continue
        found = None if bases is None else bases.look_up(read_identities(table, manifest.name))
        for row in table.to_pylist():
            caption = row["caption"] if found is None else found.get_caption(row["key"])
            yield source, row, (caption or "").strip()


def find_source(manifest: Manifest) -> str:
    """Returns the name of the folder of an image shard. A folder `data` has the name of the set that it belongs to."""
    folders = (
        [name for name in PurePath(manifest.inputs[0].path).parent.parts if name != DATA] if manifest.inputs else []
    )
    return folders[-1] if folders else "."


def _read_rows(folder: Folder, manifest: Manifest) -> pa.Table | None:
    """Reads an annotation file, checked against its manifest; None if the shard was empty."""
    if (data := read_data(folder, manifest)) is None:
        return None
    path = folder.resolve_path(get_data_name(manifest))
    try:
        held = read_parquet_schema(io.BytesIO(data), path).names
        if not {"ocr", "boxes"} & set(held):
            raise UsageError(f"{folder.url} has neither ocr nor boxes: annotate ocr,tags,boxes first")
        wanted = [name for name in dict.fromkeys([*IDENTITY_COLUMNS, *EVIDENCE_COLUMNS]) if name in held]
        return read_table(io.BytesIO(data), wanted, path)
    except (pa.ArrowException, UnreadableParquet):
        raise ShardloomError(f"{path} is not as it was committed: verify the set") from None
