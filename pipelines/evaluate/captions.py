"""Checks the captions of an annotation set against its annotations, for `shardloom evaluate captions`.

The captions are the alt texts and those that models wrote in the same pass, each under its name; or those of another
data set, found as `render --caption-from` finds them. A source is the folder of the image shards.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_parquet_schema, read_table

Row = dict[str, Any]


@dataclass(slots=True)
class CaptionedImages:
    """Counts the images of a set by what is known of them."""

    images: int = 0
    checked: int = 0  # with a caption
    without_caption: int = 0  # none, or only empty and unusable ones
    without_lines: int = 0  # of those checked: OCR did not run, or failed
    without_boxes: int = 0  # of those checked: the detector did not run, or failed
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    """How the captions that models wrote in the pass have ended, by name; only those that are `ok` are checked."""


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
        images = asdict(self.images)
        statuses = images.pop("statuses")
        return inputs | {"images": images, "statuses": statuses, "interval": interval, "captions": scores}


def evaluate_captions(
    annotations: str,
    caption_from: str | None = None,
    caption_column: str | None = None,
    caption_name: str | None = None,
) -> CaptionEvaluation:
    """Checks captions against the annotations of their images; of the pass's captions, all or the one of this name.

    Raises `UsageError` for a folder that is no annotation set, or has neither lines of text nor boxes, for unfit files
    of captions, and if no image has a caption.
    """
    if caption_name is not None and caption_from is not None:
        raise UsageError("--caption-name: it is of the pass's own captions: leave out --caption-from")
    if caption_column is not None and caption_from is None:
        raise UsageError("--caption-column: there are no files to take it from: pass --caption-from as well")
    folder = Folder(annotations)
    if (kind := read_stored_recipe(folder).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{folder.url} is not an annotation set: its kind is {format_value(kind)}")
    bases = None if caption_from is None else BaseCaptionFiles.open(caption_from, caption_column)
    counts, images = FaithfulnessCounts(), CaptionedImages()
    for source, row, captions in _read_captions(folder, bases, images.statuses):
        images.images += 1
        chosen = {name: text for name, text in captions.items() if text and caption_name in (None, name)}
        if not chosen:
            images.without_caption += 1
            continue
        images.checked += 1
        images.without_lines += row.get("ocr") is None
        images.without_boxes += row.get("boxes") is None
        for name, text in chosen.items():
            evidence = collect_evidence(row, with_alt_text=name != ALT_TEXT)
            counts.add(source, name, check_caption(text, evidence))
    if not images.checked:
        what = "a caption" if caption_name is None else f"a caption {caption_name}"
        raise UsageError(f"{annotations}: none of its {images.images} images has {what} in {caption_from or 'it'}")
    return CaptionEvaluation(annotations, caption_from, images, counts.score())


def _read_captions(
    folder: Folder, bases: BaseCaptionFiles | None, statuses: dict[str, dict[str, int]]
) -> Iterator[tuple[str, Row, Mapping[str, str]]]:
    """Yields the source, the annotations and the captions of each image by name, which may be empty.

    Counts in `statuses` how the captions that models wrote have ended.
    """
    manifests = read_manifests(folder).values()
    if not manifests:
        raise UsageError(f"{folder.url} holds no committed annotations ({MANIFESTS}/*.json)")
    for manifest in manifests:
        source = find_source(manifest)
        if (table := _read_rows(folder, manifest)) is None:
            continue
        found = None if bases is None else bases.look_up(read_identities(table, manifest.name))
        for row in table.to_pylist():
            if bases is not None and found is not None:
                yield source, row, {bases.column: (found.get_caption(row["key"]) or "").strip()}
                continue
            captions = {ALT_TEXT: (row["caption"] or "").strip()}
            for caption in row.get(CAPTIONS_COLUMN.name) or ():
                ended = statuses.setdefault(caption["name"], {})
                ended[caption["status"]] = ended.get(caption["status"], 0) + 1
                captions[caption["name"]] = caption["text"].strip() if caption["status"] == "ok" else ""
            yield source, row, captions


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
        columns = dict.fromkeys([*IDENTITY_COLUMNS, *EVIDENCE_COLUMNS, CAPTIONS_COLUMN.name])
        wanted = [name for name in columns if name in held]
        return read_table(io.BytesIO(data), wanted, path)
    except (pa.ArrowException, UnreadableParquet):
        raise ShardloomError(f"{path} is not as it was committed: verify the set") from None
