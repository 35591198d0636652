"""A ground truth over the pictures of an annotation set, from the file to the page."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.view.options import ViewOptions
from pipelines.view.run import ViewTotals, write_view
from schemas.errors import UsageError
from tests.pipelines.support.pages import Element, read_page
from tests.pipelines.support.sets import caption_set, in_process
from tests.pipelines.support.viewed import CAT, DOG, write_truth
from tests.pipelines.support.views import make_set


def show(annotations: Path, **options: Any) -> tuple[ViewTotals, Element]:
    page = annotations.parent / "page.html"
    return write_view(str(annotations), str(page), ViewOptions.model_validate(options)), read_page(page.read_bytes())


def list_shapes(card: Element) -> list[tuple[str, str]]:
    return [(one.attributes["class"], one.read()) for one in card.find_all("polygon")]


def list_chips(card: Element, title: str) -> list[tuple[str, str]]:
    """The chips below a heading, each with its colour."""
    (chips,) = [one for one in card.find_all("section", class_="chips") if one.find_all("h4")[0].read() == title]
    return [(one.read(), one.attributes["class"].split()[1]) for one in chips.find_all("li")]


def test_boxes(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["a", "b", "c"])
    exhaustive = {"exhaustive_for": ["dog", "cat"]}
    entries = [
        {"file": "x", "uid": "u0", "objects": [DOG, CAT], **exhaustive},
        {"file": "y", "uid": "u2", "objects": [CAT], **exhaustive},
    ]
    totals, page = show(annotations, truth=write_truth(tmp_path, entries))
    assert totals.samples == 2, "the pictures of the truth alone"
    first, second = page.find_all("article")
    assert list_shapes(first) == [
        ("shape layer-ocr", "STOP 0.80"),
        ("shape layer-boxes", "dog 0.90"),
        ("shape layer-truth", "truth: dog"),
        ("shape layer-truth missed", "truth: cat (missed)"),
    ]
    assert list_shapes(second)[1:] == [
        ("shape layer-boxes false_alarm", "dog 0.90 (false alarm)"),
        ("shape layer-truth missed", "truth: cat (missed)"),
    ]
    assert list_chips(first, "Ground truth of boxes") == [("dog found", "supported"), ("cat missed", "contradicted")]
    assert list_chips(second, "boxes, not in the ground truth") == [("dog 0.90", "contradicted")]
    (chart,) = [one for one in page.find_all("figure") if "against the ground truth" in one.read()]
    bars = {row.find_all("th")[0].read(): row.find_all("td")[1].read() for row in chart.find_all("tr")}
    assert bars == {"boxes: missed": "2", "boxes: false alarms": "1", "boxes: found": "1"}
    assert [one.attributes["data-layer"] for one in page.find_all("input")] == ["ocr", "boxes", "truth"]


def test_text_by_an_index(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["a", "b"])
    items = [{"text": "STOP", "bbox": [32, 24, 58, 36]}, {"text": "GO", "bbox": [1, 1, 9, 9]}]
    truth = write_truth(tmp_path, [{"file": "x.jpg", "complete": True, "items": items}])
    (tmp_path / "index.jsonl").write_text('{"uid": "u1", "file": "x.jpg"}\n')
    totals, page = show(annotations, truth=truth, index=str(tmp_path / "index.jsonl"))
    assert totals.samples == 1
    assert list_chips(page, "Ground truth of ocr") == [("STOP found", "supported"), ("GO not read: GO", "contradicted")]
    with pytest.raises(UsageError, match="none of its images has a uid: pass --index, which has them"):
        show(annotations, truth=truth)


def test_text_and_boxes_of_one_file(tmp_path: Path) -> None:
    items = [{"text": "STOP", "bbox": [32, 24, 58, 36]}]
    entry = {"file": "x", "uid": "u0", "objects": [DOG], "items": items, "complete": True}
    _, page = show(make_set(tmp_path, ["a"]), truth=write_truth(tmp_path, [entry]))
    shapes = page.find_all("polygon")
    assert [one.attributes["data-shapes"] for one in shapes] == ["0", "1", "2", "3"]
    assert [one.read() for one in shapes[2:]] == ["truth: STOP", "truth: dog"]
    assert list_chips(page, "Ground truth of ocr") == [("STOP found", "supported")]
    assert list_chips(page, "Ground truth of boxes") == [("dog found", "supported")]


def test_a_picture_of_another_shape(tmp_path: Path) -> None:
    truth = write_truth(tmp_path, [{"file": "x", "uid": "u0", "width": 500, "objects": [CAT]}])
    _, page = show(make_set(tmp_path, ["a"]), truth=truth)
    assert [one.attributes["class"] for one in page.find_all("polygon")] == ["shape layer-ocr", "shape layer-boxes"]
    assert "it is of a picture of 500 x 48 pixels" in page.find_all("article")[0].read()


def test_wrong_use(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["a"])
    strange = write_truth(tmp_path, [{"file": "x", "uid": "other", "objects": [CAT]}])
    with pytest.raises(
        UsageError, match=r"none of its images is known in .*annotations: does the truth belong to it\?"
    ):
        show(annotations, truth=strange)
    captions = caption_set(annotations, tmp_path / "captions")
    with pytest.raises(UsageError, match=r"--truth: .*captions is no annotation set"):
        show(captions, truth=strange)
    done = in_process("view", annotations, "--index", "x.jsonl")
    assert (done.returncode, done.stderr) == (2, "error: --index: it is of a ground truth: pass --truth as well\n")
    done = in_process("view", annotations, "--format", "coco", "--truth", strange)
    assert done.stderr == "error: --truth and --max-megabytes are for pages, not for --format coco\n"
