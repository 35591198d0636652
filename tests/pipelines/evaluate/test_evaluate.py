"""Annotations made from a truth have known figures: all right, every second one dropped, moved by so much."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.scores.bootstrap import Estimate
from curation.scores.boxes import BoxScores
from curation.scores.text import ErrorCounts, TextScores
from pipelines.cli.app import main
from pipelines.evaluate.run import evaluate_boxes, evaluate_ocr
from pipelines.output.writer import commit, encode_parquet, write_output
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from pipelines.recipes.render import RenderRecipe
from schemas.output_set.layout import DATA, QUARANTINE
from schemas.output_set.manifest import Manifest
from schemas.records.annotation import IMAGE_COLUMNS
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.ground_truth import TextTruth, TrueBox, read_box_truth, read_text_truth, read_truth_index
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import opened

Row = dict[str, Any]


def annotation_set(
    folder: Path, rows: Iterable[Row], columns: list[pa.Field], lost: dict[str, str] | None = None
) -> str:
    """An annotation set of one shard; of a row it takes `uid`, `width`, `height` and these columns."""
    recipe = AnnotateRecipe(input=["x"], engines={"ocr": EngineOptions(engine="rapidocr")})
    schema = pa.schema([*IMAGE_COLUMNS, *columns])
    data = pa.Table.from_pylist([{"key": "0", "caption": "", "sha256": "", **row} for row in rows], schema)
    quarantined = [
        {"key": "0", "uid": uid, "stage": "annotate", "reason": reason, "detail": ""}
        for uid, reason in (lost or {}).items()
    ]
    left_out = pa.Table.from_pylist(quarantined, QUARANTINE_SCHEMA)
    output = Folder(str(folder))
    with opened(output, recipe):
        outputs = [
            write_output(output, f"{DATA}/00000000.parquet", encode_parquet([data], schema), data.num_rows),
            write_output(
                output,
                f"{QUARANTINE}/00000000.parquet",
                encode_parquet([left_out], QUARANTINE_SCHEMA),
                len(quarantined),
            ),
        ]
        commit(
            output,
            Manifest(
                name="00000000",
                recipe_sha256=recipe.compute_sha256(),
                inputs=[],
                rows_in=data.num_rows + len(quarantined),
                rows_out=data.num_rows,
                reasons=Counter((lost or {}).values()),
                counts={},
                outputs=outputs,
                engines={},
            ),
        )
    return str(folder)


def thing(label: str, box: tuple[float, float, float, float], score: float = 0.5) -> dict[str, object]:
    return detection_to_arrow(Detection(label, label, box, score))


def tag(name: str) -> dict[str, object]:
    return tag_to_arrow(Tag(name, 1.0, "image"))


def written(path: Path, entries: Iterable[Row]) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


PICTURE = {"width": 200, "height": 100, "exhaustive_for": ["cat", "dog"]}
CAT = {"label": "cat", "bbox_xyxy": [0, 0, 100, 100]}
DOG = {"label": "Dog", "bbox_xyxy": [100, 0, 200, 100]}
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, str]:
    """An annotation set and a truth of ten entries, one for each thing that may become of one."""
    entries = [
        {"file": "a", "uid": "a", "objects": [CAT, DOG]},
        {"file": "b", "uid": "b", "objects": [CAT]},
        {"file": "null", "uid": "null", "objects": [CAT]},
        {"file": "engine", "uid": "engine", "objects": [CAT]},
        {"file": "killed", "uid": "killed", "objects": []},
        {"file": "small", "uid": "small", "objects": [CAT]},
        {"file": "turned", "uid": "turned", "objects": [CAT]},
        {"file": "other shard", "uid": "other shard", "objects": [CAT]},
        {"file": "no uid", "objects": [CAT]},
        {"file": "class", "uid": "class", "image_labels": ["cat"]},
    ]
    size = {"width": 64, "height": 32}
    rows = [
        # on "a" the dog is missed; of "b" the cat is found, and a dog that isn't there; a bird nobody knows about
        {"uid": "a", **size, "tags": [tag("CAT")], "boxes": [thing("cat", LEFT, 0.25)]},
        {
            "uid": "b",
            **size,
            "tags": [tag("dog")],
            "boxes": [thing("dog", RIGHT, 0.5), thing("CAT", LEFT, 0.75), thing("bird", LEFT)],
        },
        {"uid": "null", **size, "tags": [tag("cat")], "boxes": None},
        {"uid": "turned", "width": 32, "height": 64, "tags": [], "boxes": [thing("cat", LEFT)]},
        {"uid": "class", **size, "tags": [], "boxes": [thing("cat", LEFT)]},
        {"uid": "not in the truth", **size, "tags": [], "boxes": [thing("cat", LEFT)]},
    ]
    lost = {"engine": "engine_error", "killed": "worker_killed", "small": "too_small"}
    output = annotation_set(tmp_path / "set", rows, [TAGS_COLUMN, BOXES_COLUMN], lost)
    return output, written(tmp_path / "truth.jsonl", [PICTURE | entry for entry in entries])


def test_what_became_of_each_image_and_what_counts(small: tuple[str, str]) -> None:
    found = evaluate_boxes(*small).to_dict()
    assert found["images"] == {
        "truth": 10,
        "without_boxes": 1,
        "untied": 1,
        "absent": 1,
        "quarantined": 1,
        "other_shape": 1,
        "annotated": 2,
        "failed": 3,
        "tied": 7,
        "scored": 5,
    }
    cat, dog = found["classes"]
    counts = ("label", "images", "objects", "found", "wrong", "missed", "asked")
    assert [cat[name] for name in counts] == ["cat", 4, 4, 2, 0, 2, 2]
    assert [dog[name] for name in counts] == ["dog", 2, 1, 0, 1, 1, 0]
    assert (cat["recall_asked"]["value"], dog["recall_asked"]["value"]) == (0.5, None)
    total = found["total"]
    assert [total[name]["value"] for name in ("precision", "recall", "f1", "ap")] == [2 / 3, 2 / 5, 0.5, 0.25]
    assert total["mean_iou"]["value"] == 1.0
    assert 0 <= total["recall"]["low"] < 2 / 5 < total["recall"]["high"] <= 1


def test_the_same_call_gives_the_same_bytes(small: tuple[str, str]) -> None:
    assert json.dumps(evaluate_boxes(*small).to_dict()) == json.dumps(evaluate_boxes(*small).to_dict())


def test_aliases_and_spellings(tmp_path: Path) -> None:
    entry = PICTURE | {"file": "a", "uid": "a", "objects": [DOG, CAT | {"label": "aeroplane"}]}
    rows = [{"uid": "a", "width": 200, "height": 100, "boxes": [thing("Hound", RIGHT), thing("airplane", LEFT)]}]
    output, truth = annotation_set(tmp_path / "set", rows, [BOXES_COLUMN]), written(tmp_path / "truth", [entry])
    assert {score.label: score.found for score in boxes(output, truth).classes} == {"airplane": 1, "dog": 0}
    aliases = tmp_path / "aliases.json"
    aliases.write_text('{"HOUND": "dog"}')
    scores = evaluate_boxes(output, truth, aliases=str(aliases)).scores
    assert isinstance(scores, BoxScores)
    assert {score.label: score.found for score in scores.classes} == {"airplane": 1, "dog": 1}
    assert scores.total.recall_asked == Estimate(None)  # the set has no tags


def test_the_first_annotated_copy_of_an_image_counts(tmp_path: Path) -> None:
    size = {"width": 200, "height": 100}
    rows = [{"uid": "two", **size, "boxes": None}, {"uid": "three", **size, "boxes": [thing("cat", LEFT)]}]
    output = annotation_set(tmp_path / "set", rows, [BOXES_COLUMN], {"one": "repeated_image"})
    truth = written(tmp_path / "truth", [PICTURE | {"file": "a", "objects": [CAT]}])
    index = written(tmp_path / "index", [{"uid": uid, "file": "a"} for uid in ("one", "two", "three")])
    found = evaluate_boxes(output, truth, index)
    assert (found.images.annotated, found.images.tied, found.scores.total.images) == (1, 1, 1)
    assert isinstance(found.scores, BoxScores)
    assert found.scores.total.recall == Estimate(1.0)  # one image, no interval


def boxes(annotations: str, truth: str, index: str | None = None, iou: float = 0.5) -> BoxScores:
    scores = evaluate_boxes(annotations, truth, index, iou).scores
    assert isinstance(scores, BoxScores)
    return scores


Change = Callable[[list[TrueBox]], list[TrueBox]]


@pytest.fixture
def real_set(data: Path, tmp_path: Path) -> Callable[[Change], tuple[str, str, str]]:
    """An annotation set of the sample data's own boxes, changed; with its truth and index."""

    def make(change: Change) -> tuple[str, str, str]:
        truth, index = real_files(data, "det")
        rows = []
        for entry, uid in tied_to(read_box_truth(Path(truth).read_bytes(), truth), index):
            things = [thing(box.label, box.box, 0.5 + at / 1000) for at, box in enumerate(change(entry.boxes))]
            rows.append({"uid": uid, **halved(entry.width, entry.height), "boxes": things})
        return annotation_set(tmp_path / "set", rows, [BOXES_COLUMN]), truth, index

    return make


def real_files(data: Path, kind: str) -> tuple[str, str]:
    return str(data / f"ground_truth/{kind}.jsonl"), str(data / "datacomp_small/ground_truth_index.jsonl")


def tied_to(entries: list[Any], index: str) -> list[tuple[Any, str]]:
    uids = read_truth_index(Path(index).read_bytes(), index)
    return [(entry, uids[entry.file][0]) for entry in entries if entry.file in uids]


def halved(width: int, height: int) -> dict[str, int]:
    return {"width": round(width / 2), "height": round(height / 2)}


def test_the_truth_itself_is_perfect(real_set: Callable[[Change], tuple[str, str, str]]) -> None:
    annotations, truth, index = real_set(lambda found: found)
    found = evaluate_boxes(annotations, truth, index)
    assert (found.images.truth, found.images.tied, found.images.annotated, found.images.untied) == (80, 58, 58, 22)
    scores = boxes(annotations, truth, index)
    assert len(scores.classes) > 15
    for score in [*scores.classes, scores.total]:
        assert score.found == score.objects
        assert (score.wrong, score.missed) == (0, 0)
        perfect = Estimate(1.0) if score.images == 1 else Estimate(1.0, 1.0, 1.0)
        if score.objects:
            assert score.coco_ap.value == pytest.approx(1)
            assert [score.precision, score.recall, score.f1, score.ap] == [perfect] * 4
            assert score.mean_iou.value == pytest.approx(1, abs=1e-5)  # boxes are stored as 32 bits


def test_every_second_one_dropped(real_set: Callable[[Change], tuple[str, str, str]]) -> None:
    annotations, truth, index = real_set(lambda found: [box for box in found if not box.difficult][::2])
    scores = boxes(annotations, truth, index)
    entries, files = ([json.loads(line) for line in Path(path).read_text().splitlines()] for path in (truth, index))
    known = {tie["file"] for tie in files}
    objects = [sum(not one["difficult"] for one in entry["objects"]) for entry in entries if entry["file"] in known]
    kept = sum((count + 1) // 2 for count in objects)
    assert (scores.total.objects, scores.total.found, scores.total.wrong) == (sum(objects), kept, 0)
    assert scores.total.recall.value == kept / sum(objects)
    assert scores.total.precision == Estimate(1.0, 1.0, 1.0)
    for score in scores.classes:
        assert score.ap.value == score.recall.value  # where all are right, the curve is a rectangle
    assert scores.total.coco_ap.value == pytest.approx(scores.total.ap.value, abs=0.01)  # of 101 recalls


def test_moved_by_a_tenth_of_the_width(real_set: Callable[[Change], tuple[str, str, str]]) -> None:
    """A box moved by a tenth of its width overlaps its old self by 0.9 / 1.1."""

    def moved(found: list[TrueBox]) -> list[TrueBox]:
        alone = [box for box in found if not box.difficult][:1]
        return [
            TrueBox(box.label, (x1 + (x2 - x1) / 10, y1, x2 + (x2 - x1) / 10, y2))
            for box in alone
            for x1, y1, x2, y2 in [box.box]
        ]

    arguments = real_set(moved)
    low, high = boxes(*arguments, iou=0.81), boxes(*arguments, iou=0.82)
    assert low.total.mean_iou.value == pytest.approx(0.9 / 1.1, abs=1e-5)
    assert (low.total.wrong, low.total.precision.value) == (0, 1.0)
    assert (high.total.found, high.total.wrong, high.total.precision.value) == (0, low.total.found, 0.0)
    assert high.total.mean_iou == Estimate(None)


def lines_of(entry: TextTruth) -> list[TextLine]:
    """The truth as lines: every text, and every box of which the text isn't known."""
    boxes = entry.legible_boxes if entry.boxes_only else [LEFT] * len(entry.texts)
    texts = ["?"] * len(boxes) if entry.boxes_only else entry.texts
    return [TextLine(text, (0.0,) * 8, box, 1.0) for text, box in zip(texts, boxes, strict=True)]


def ocr_set(data: Path, folder: Path, lines: Callable[[TextTruth], list[TextLine]]) -> TextScores:
    truth, index = real_files(data, "ocr")
    rows = [
        {"uid": uid, **halved(entry.width, entry.height), "ocr": [line_to_arrow(line) for line in lines(entry)]}
        for entry, uid in tied_to(read_text_truth(Path(truth).read_bytes(), truth), index)
    ]
    found = evaluate_ocr(annotation_set(folder, rows, [OCR_COLUMN]), truth, index)
    assert (found.images.truth, found.images.annotated, found.images.untied) == (80, 48, 32)
    assert isinstance(found.scores, TextScores)
    return found.scores


def test_the_true_text_has_no_error(data: Path, tmp_path: Path) -> None:
    scores = ocr_set(data, tmp_path, lines_of)
    perfect = Estimate(0.0, 0.0, 0.0)
    assert [score.source for score in scores.sources] == ["receipt", "scene", "scripts", "sroie", "word"]
    assert (scores.total.cer, scores.total.wer, scores.total.places_found) == (
        perfect,
        perfect,
        Estimate(1.0, 1.0, 1.0),
    )
    assert sum((score.counts for score in scores.sources), ErrorCounts()) == scores.total.counts
    assert scores.total.counts.words > 1000


def test_an_empty_reading_gets_all_of_it_wrong(data: Path, tmp_path: Path) -> None:
    scores = ocr_set(data, tmp_path, lambda _: [])
    wrong = Estimate(1.0, 1.0, 1.0)
    assert (scores.total.cer, scores.total.wer, scores.total.places_found) == (wrong, wrong, Estimate(0.0, 0.0, 0.0))


def test_text_is_grouped_by_kind_and_failures_cost_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = {"width": 200, "height": 100}
    entries = [
        {"file": "a", "uid": "a", "kind": "sign", "items": [{"text": "OPEN DAILY"}]},
        {"file": "b", "uid": "b", "kind": "sign", "items": [{"text": "Exit"}], "case_insensitive": True},
        {"file": "c", "uid": "c", "kind": "bill", "items": [{"text": "Total"}]},
    ]
    truth = written(tmp_path / "truth", [{**size, "complete": True, **entry} for entry in entries])

    def read(text: str) -> list[dict[str, object]]:
        return [line_to_arrow(TextLine(text, (0.0,) * 8, LEFT, 1.0))]

    texts = {"a": read("0PEN DAILY"), "b": read("EXIT"), "c": None}
    rows = [{"uid": uid, **size, "ocr": found} for uid, found in texts.items()]
    found = evaluate_ocr(annotation_set(tmp_path / "set", rows, [OCR_COLUMN]), truth).to_dict()
    bill, sign = found["sources"]
    assert (found["images"]["annotated"], found["images"]["failed"]) == (2, 1)
    assert (bill["source"], bill["cer"]["value"], bill["counts"]["words"]) == ("bill", 1.0, 1)
    assert (sign["source"], sign["cer"], sign["wer"]["value"]) == (
        "sign",
        {"value": 1 / 13, "low": 0.0, "high": 1 / 9},
        1 / 3,
    )
    assert (found["total"]["images"], found["total"]["cer"]["value"]) == (3, 6 / 18)
    ordinary = [found["total"][name]["value"] for name in ("ordinary_cer", "ordinary_wer")]
    assert ordinary == [6 / 19, 2 / 4]  # a space is a character
    with pytest.raises(SystemExit) as done:
        main(["evaluate", "ocr", str(tmp_path / "set"), "--truth", truth, "--fail-under", "total.ordinary_cer=0.3"])
    assert done.value.code == 1
    out, err = capsys.readouterr()
    assert err == "error: --fail-under: total.ordinary_cer is 0.3158, over 0.3\n"
    assert "ordinary: by jiwer, in the order of reading, which the other rates ignore" in out


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["evaluate", *arguments])
    return done.value.code, *capsys.readouterr()


def test_the_table_and_the_json(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    annotations, truth = small
    code, out, err = run("boxes", annotations, "--truth", truth, capsys=capsys)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines() if line.strip()]
    assert lines[:2] == ["recall", "class objects precision recall (prompted) F1 AP IoU"]
    assert lines[3].startswith("cat 4 100.0 50.0 50.0 66.7 50.0 100.0")
    assert lines[5].startswith("dog 1 0.0 0.0 - 0.0 0.0 -")
    assert lines[-7:] == [
        "figures in %, with the 95% confidence interval below each, from 1,000 bootstrap resamples of the images",
        "a true box is found if a box of its class overlaps it with an IoU of at least 0.5",
        "recall (prompted): the recall of the objects whose class the detector was asked for",
        "AP: average precision, interpolated at all points; its total is the mean of the classes, and each other total "
        "is that of all boxes together",
        "COCO's AP@[.5:.95], by pycocotools: 25.2, 0.0-66; --json has that of each class",
        "scored: 5 of 10 images of the ground truth, 3 of them with nothing found, because the engine failed",
        "not scored: 1 without boxes in the ground truth, 1 without uid, 1 not in the set, 1 quarantined, "
        "1 of another shape than in the ground truth",
    ]
    code, out, err = run("boxes", annotations, "--truth", truth, "--iou", "0.9", "--json", capsys=capsys)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found == evaluate_boxes(annotations, truth, iou=0.9).to_dict()
    assert (found["iou"], found["interpolation"]) == (0.9, "all points")
    assert found["interval"] == {
        "confidence": 0.95,
        "draws": 1000,
        "seed": 0,
        "method": "percentile bootstrap of images",
    }


def test_a_score_under_its_limit_ends_with_1(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The scores are printed first; `cat.recall` is 0.5, and `dog.recall_asked` has no value."""
    arguments = ("boxes", small[0], "--truth", small[1], "--json", "--fail-under")
    code, out, err = run(*arguments, "cat.recall=0.5", capsys=capsys)
    assert (code, err) == (0, "")
    code, again, err = run(*arguments, "cat.recall=0.6", "--fail-under", "dog.recall_asked=0", capsys=capsys)
    assert (code, again) == (1, out)
    assert err == "error: --fail-under: cat.recall is 0.5, under 0.6; dog.recall_asked has no value\n"


def test_a_hostile_label_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = PICTURE | {"file": "a", "uid": "a", "objects": [CAT | {"label": "[red]\x1b[31m:smile:"}]}
    rows = [{"uid": "a", "width": 200, "height": 100, "boxes": []}]
    output, truth = annotation_set(tmp_path / "set", rows, [BOXES_COLUMN]), written(tmp_path / "truth", [entry])
    code, out, _ = run("boxes", output, "--truth", truth, capsys=capsys)
    assert code == 0
    assert "[red]\\x1b[31m:smile:" in out
    assert "\x1b" not in out


def test_wrong_use_is_one_line_and_2(
    small: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, truth = small
    bad = written(tmp_path / "bad", [PICTURE | {"file": "a", "objects": []}, {"file": "b"}])
    stranger = written(tmp_path / "stranger", [PICTURE | {"file": "a", "objects": []}])
    other = written(tmp_path / "other", [{"uid": "?", "file": "a"}])
    words = written(tmp_path / "words", [PICTURE | {"file": "a", "uid": "a", "complete": True, "items": []}])
    twice = written(tmp_path / "twice", [PICTURE | {"file": file, "uid": "a", "objects": []} for file in "ab"])
    shared = written(tmp_path / "shared", [{"uid": "b", "file": "a"}])
    empty = written(tmp_path / "empty", [])
    deep = tmp_path / "deep"
    deep.write_text("[" * 100_000)
    captions = tmp_path / "captions"
    with opened(Folder(str(captions)), RenderRecipe(input="x")):
        pass
    unknown = f"{stranger}: none of its 1 images is known in {annotations}"
    for arguments, line in {
        ("boxes", annotations, "--truth", f"{truth}x"): f"cannot read {truth}x: No such file or directory",
        ("boxes", annotations, "--truth", bad): f"{bad}, line 2: width: Field required",
        ("boxes", annotations, "--truth", words): f"{words}, line 1: has neither objects nor image_labels: "
        r"is this a ground truth of boxes\?",
        ("boxes", annotations, "--truth", stranger): f"{unknown}: pass --index, a file that gives the uid of each",
        ("boxes", annotations, "--truth", stranger, "--index", other): f"{unknown}: does the truth belong to it\\?",
        ("boxes", annotations, "--truth", twice): f"{twice}: 'a' and 'b' both have the uid 'a'",
        (
            "boxes",
            annotations,
            "--truth",
            truth,
            "--index",
            shared,
        ): f"{truth} with {shared}: 'a' and 'b' both have the uid 'b'",
        ("boxes", annotations, "--truth", empty): f"{empty} is empty: a ground truth has one line for each picture",
        ("ocr", annotations, "--truth", empty): f"{empty} is empty: a ground truth has one line for each picture",
        ("boxes", annotations, "--truth", truth, "--iou", "0"): "--iou 0: must be over 0 and at most 1",
        ("boxes", annotations, "--truth", truth, "--aliases", truth): f"{truth} is not valid JSON: Extra data: .*",
        (
            "boxes",
            annotations,
            "--truth",
            truth,
            "--aliases",
            str(deep),
        ): f"{deep} is not valid JSON: maximum recursion .*",
        (
            "boxes",
            annotations,
            "--truth",
            truth,
            "--aliases",
            stranger,
        ): f"{stranger} is not a JSON object of names to names",
        ("boxes", str(captions), "--truth", truth): f"{captions} is not an annotation set: its kind is 'render'",
        ("boxes", str(tmp_path), "--truth", truth): rf"{tmp_path} is not an output set: it has no recipe.yaml",
        ("ocr", annotations, "--truth", words): f"{annotations} has no ocr: annotate ocr first",
        ("ocr", annotations, "--truth", words, "--iou", "0.5"): "--iou and --aliases are for boxes, not for ocr",
        ("tags", annotations, "--truth", truth): "'tags' can't be evaluated: use boxes, ocr, captions or model",
        ("boxes", annotations): "evaluate boxes: pass --truth, a JSONL file of the ground truth",
    }.items():
        code, out, err = run(*arguments, capsys=capsys)
        assert (code, out) == (2, "")
        assert re.fullmatch(f"error: {line}\n", err), (arguments, err)


def cut(data: bytes) -> bytes:
    return data[:-9]


def with_strange_name(data: bytes) -> bytes:
    return data.replace(b"sha256", b"sha\xff56")


def with_pages_of_noise(data: bytes) -> bytes:
    return data[:4] + b"\xff" * 400 + data[404:]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut, "{path} is not as it was committed: verify the set"),
        (with_strange_name, "{path} is not as it was committed: verify the set"),
        (with_pages_of_noise, "cannot read {path}: Couldn't deserialize thrift: .*"),
    ],
)
def test_a_damaged_set_is_one_line_and_1(
    small: tuple[str, str], damage: Callable[[bytes], bytes], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, truth = small
    path = Path(annotations, DATA, "00000000.parquet")
    path.write_bytes(damage(path.read_bytes()))
    code, out, err = run("boxes", annotations, "--truth", truth, capsys=capsys)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"error: {line.format(path=path)}\n", err), err


def test_precision_has_its_column_where_nothing_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"uid": "a", "width": 200, "height": 100, "boxes": []}]
    output = annotation_set(tmp_path / "set", rows, [BOXES_COLUMN])
    truth = written(tmp_path / "truth", [PICTURE | {"file": "a", "uid": "a", "objects": [CAT]}])
    code, out, _ = run("boxes", output, "--truth", truth, capsys=capsys)
    lines = [" ".join(line.split()) for line in out.splitlines() if line.strip()]
    assert (code, lines[0]) == (0, "class objects precision recall F1 AP IoU")
    assert lines[2] == "cat 1 - 0.0 0.0 0.0 -"
    assert lines[-1] == "scored: 1 of 1 images of the ground truth"
