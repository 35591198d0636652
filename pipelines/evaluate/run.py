"""Scores an annotation set against a ground truth, for `shardloom evaluate`.

Entries of the truth are matched to images by uid: their own, or those of an index file. The stored size of an image
does not matter, since boxes are compared in normalised coordinates. An image stored in another shape than the truth's
is left out, since its coordinates mean other places. If the engine failed on an image, it is scored as if nothing was
found. An image quarantined for another reason (its file, a filter) is counted and left out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.scores.bootstrap import CONFIDENCE, DRAWS, SEED
from curation.scores.boxes import BoxScores, match_detections, normalise_label, score_boxes
from curation.scores.coco import CocoImage, add_coco_scores
from curation.scores.ordered_text import add_ordinary_rates, count_ordinary_errors
from curation.scores.text import TextScores, count_picture_errors, score_texts
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.log import LOG
from schemas.output_set.layout import DATA, QUARANTINE, read_manifests
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.records.box import BOXES_COLUMN, Detection
from schemas.records.ground_truth import BoxTruth, TextTruth, TrueBox, read_box_truth, read_text_truth, read_truth_index
from schemas.records.quarantine import Reason
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN, TextLine
from schemas.storage.folder import Folder, split_path
from schemas.storage.parquet import UnreadableParquet, read_parquet_schema, read_table

IOU = 0.5  # VOC's threshold, and COCO's lowest
ENGINE_FAULTS = {Reason.ENGINE_ERROR.value, Reason.WORKER_KILLED.value}

Row = dict[str, Any]
E = TypeVar("E", bound=BoxTruth | TextTruth)
B = TypeVar("B", TrueBox, Detection)


@dataclass(slots=True)
class ImageCounts:
    """Counts the entries of a truth by outcome. The figures cover those that are `scored`."""

    truth: int = 0
    without_boxes: int = 0  # the truth only has classes of the whole picture
    untied: int = 0  # neither the truth nor the index has a uid
    absent: int = 0  # the set lacks the uid
    quarantined: int = 0  # quarantined, but not because an engine failed
    other_shape: int = 0  # the stored image is not a scaled copy of the truth's picture
    annotated: int = 0
    failed: int = 0  # the engine failed: scored as if nothing was found

    @property
    def tied(self) -> int:
        """Returns the number of entries whose image was in the annotation run."""
        return self.quarantined + self.other_shape + self.annotated + self.failed

    @property
    def scored(self) -> int:
        """Returns the number of entries that the figures cover."""
        return self.annotated + self.failed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Holds the scores of an annotation set, with the inputs and counts that they are based on."""

    what: str
    annotations: str
    truth: str
    index: str | None
    images: ImageCounts
    scores: BoxScores | TextScores

    def to_dict(self) -> dict[str, Any]:
        """Returns the evaluation as plain data."""
        counts = asdict(self.images) | {"tied": self.images.tied, "scored": self.images.scored}
        sources = {"what": self.what, "annotations": self.annotations, "truth": self.truth, "index": self.index}
        interval = {"confidence": CONFIDENCE, "draws": DRAWS, "seed": SEED, "method": "percentile bootstrap of images"}
        return sources | {"images": counts, "interval": interval} | asdict(self.scores)


@dataclass(frozen=True, slots=True)
class AnnotatedRows:
    """Holds the rows of an annotation set that belong to a truth, by uid."""

    rows: dict[str, Row]
    quarantined: dict[str, str]  # the reason


def evaluate_boxes(
    annotations: str, truth: str, index: str | None = None, iou: float = IOU, aliases: str | None = None
) -> Evaluation:
    """Scores boxes against a truth. Raises `UsageError` for an invalid file, and if no image can be compared.

    A match needs the same class, after `aliases` (a JSON file of names to the names they stand for), and an
    intersection over union of at least `iou`, in (0, 1].
    """
    if not 0 < iou <= 1:
        raise UsageError(f"--iou {iou:g}: must be over 0 and at most 1")
    names = _read_aliases(aliases)
    entries = read_box_truth(read_truth_file(truth), truth)
    counts = ImageCounts(len(entries), without_boxes=sum(not entry.has_boxes for entry in entries))
    images, coco_images = [], []
    for entry, row in _match_entries(
        [entry for entry in entries if entry.has_boxes], annotations, truth, index, BOXES_COLUMN, counts
    ):
        boxes = [_normalise_label(box, names) for box in entry.boxes]
        found = [_normalise_label(_parse_detection(one), names) for one in row.get(BOXES_COLUMN.name) or ()]
        asked = {normalise_label(tag["name"], names) for tag in row.get(TAGS_COLUMN.name) or ()}
        exhaustive = {normalise_label(label, names) for label in entry.exhaustive_for}
        images.append(match_detections(boxes, found, exhaustive, asked, iou))
        coco_images.append(CocoImage(boxes, found, frozenset(exhaustive)))
    _note_missing_library("pycocotools", "COCO's AP")
    scores = add_coco_scores(score_boxes(images, iou), coco_images)
    return Evaluation("boxes", annotations, truth, index, counts, scores)


def evaluate_ocr(annotations: str, truth: str, index: str | None = None) -> Evaluation:
    """Scores text lines against a truth. Raises `UsageError` for an invalid file, and if no image can be compared."""
    entries = read_text_truth(read_truth_file(truth), truth)
    counts = ImageCounts(len(entries))
    pictures, ordinary = [], []
    for entry, row in _match_entries(entries, annotations, truth, index, OCR_COLUMN, counts):
        lines = [_parse_line(one) for one in row.get(OCR_COLUMN.name) or ()]
        pictures.append((entry.collection.name, count_picture_errors(entry, lines)))
        ordinary.append((entry.collection.name, count_ordinary_errors(entry, lines)))
    _note_missing_library("jiwer", "the ordinary CER and WER")
    scores = add_ordinary_rates(score_texts(pictures), ordinary)
    return Evaluation("ocr", annotations, truth, index, counts, scores)


def _note_missing_library(name: str, figures: str) -> None:
    if find_spec(name) is None:
        LOG.warning(f"evaluate: without {figures}, which {name} computes: pip install 'shardloom[evaluate]'")


def _match_entries(
    entries: Sequence[E], annotations: str, truth: str, index: str | None, column: pa.Field, counts: ImageCounts
) -> Iterator[tuple[E, Row]]:
    """Yields the scored entries, each with the row of its image, which is empty if an engine failed; fills `counts`."""
    uids = find_uids(entries, truth, index)
    known = sorted({uid for some in uids.values() for uid in some})
    found = _look_up_rows(Folder(annotations), column, known)
    for entry in entries:
        rows = [found.rows[uid] for uid in uids[entry.file] if uid in found.rows]
        reasons = {found.quarantined[uid] for uid in uids[entry.file] if uid in found.quarantined}
        row = next((row for row in rows if row[column.name] is not None), rows[0] if rows else None)
        if row is not None and not entry.has_shape_of(row["width"], row["height"]):
            counts.other_shape += 1
        elif row is not None:
            counts.annotated += row[column.name] is not None
            counts.failed += row[column.name] is None
            yield entry, row
        elif reasons & ENGINE_FAULTS:
            counts.failed += 1
            yield entry, {}
        elif reasons:
            counts.quarantined += 1
        elif uids[entry.file]:
            counts.absent += 1
        else:
            counts.untied += 1
    if not counts.tied:
        advice = "does the truth belong to it?" if known else "pass --index, a file that gives the uid of each"
        raise UsageError(f"{truth}: none of its {len(entries)} images is known in {annotations}: {advice}")


def find_uids(entries: Sequence[BoxTruth | TextTruth], truth: str, index: str | None) -> dict[str, list[str]]:
    """Returns the uids of the image of each entry by its file. Raises `UsageError` for one that two entries have."""
    ties = read_truth_index(read_truth_file(index), index) if index is not None else {}
    uids = {entry.file: [*([entry.uid] if entry.uid else []), *ties.get(entry.file, [])] for entry in entries}
    owners: dict[str, str] = {}
    for file, some in uids.items():
        for uid in some:
            if (owner := owners.setdefault(uid, file)) != file:
                both = truth if index is None else f"{truth} with {index}"
                raise UsageError(f"{both}: {owner!r} and {file!r} both have the uid {uid!r}")
    return uids


def _look_up_rows(folder: Folder, column: pa.Field, uids: Sequence[str]) -> AnnotatedRows:
    """Looks up the rows of the uids. Raises `UsageError` if the folder is not an annotation set or lacks the column."""
    if (kind := read_stored_recipe(folder).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{folder.url} is not an annotation set: its kind is {format_value(kind)}")
    found = AnnotatedRows({}, {})
    asked = pa.array(uids, pa.string())
    for path in (output.path for manifest in read_manifests(folder).values() for output in manifest.outputs):
        if path.startswith(f"{QUARANTINE}/"):
            rows = _read_rows(folder, path, asked, ["uid", "reason"], [])
            found.quarantined.update((row["uid"], row["reason"]) for row in rows)
        elif path.startswith(f"{DATA}/"):
            for row in _read_rows(folder, path, asked, ["uid", "width", "height", column.name], [TAGS_COLUMN.name]):
                found.rows.setdefault(row["uid"], row)
    return found


def _read_rows(folder: Folder, path: str, asked: pa.Array, columns: list[str], more: list[str]) -> list[Row]:
    """Reads the rows with the given uids, with `columns`, and with `more` if the file has them."""
    try:
        folder.check_inside(path)
        with folder.open(path) as file:
            held = read_parquet_schema(file, path).names
            if missing := set(columns) - set(held):
                name = missing.pop()
                raise UsageError(f"{folder.url} has no {name}: annotate {_ENGINES_TO_ADD.get(name, name)} first")
            wanted = columns + [name for name in more if name in held]
            table = read_table(file, wanted, folder.resolve_path(path))
            rows: list[Row] = table.filter(pc.is_in(table["uid"], asked)).to_pylist()
            return rows
    except (pa.ArrowException, UnreadableParquet):  # the folder reports an OSError itself
        raise ShardloomError(f"{folder.resolve_path(path)} is not as it was committed: verify the set") from None


_ENGINES_TO_ADD = {BOXES_COLUMN.name: "tags,boxes"}


def _parse_detection(one: Row) -> Detection:
    return Detection(one["label"], one["phrase"], (one["x1"], one["y1"], one["x2"], one["y2"]), one["score"])


def _parse_line(one: Row) -> TextLine:
    box = (one["x1"], one["y1"], one["x2"], one["y2"])
    return TextLine(one["text"], tuple(one["polygon"]), box, one["confidence"])


def _normalise_label(thing: B, aliases: Mapping[str, str]) -> B:
    return replace(thing, label=normalise_label(thing.label, aliases))


def read_truth_file(path: str) -> bytes:
    """Returns the content of a file that the user names. Raises `UsageError` if it can't be read."""
    folder, name = split_path(path)
    try:
        return folder.read(name)
    except StorageError as error:
        raise UsageError(str(error)) from None


def _read_aliases(path: str | None) -> dict[str, str]:
    """Reads a JSON file of names to the names they stand for; case is folded."""
    if path is None:
        return {}
    try:
        names = json.loads(read_truth_file(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UsageError(f"{path} is not a JSON object of names to names")
    return {name.casefold().strip(): other.casefold().strip() for name, other in names.items()}
