"""The captions of a set against its annotations, by source and name, on the command line and from Python."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.app import main
from pipelines.evaluate.captions import evaluate_captions
from schemas.errors import UsageError
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from tests.conftest import jpeg
from tests.pipelines.support.captions import captioned, written
from tests.pipelines.support.sets import annotated, line, write_samples

ALT_TEXTS = {"0": "A dog", "1": "A cat and a dog", "2": "", "3": 'A door that says "EXIT"'}
DOG = Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.75)


def annotate(images: str, output: Path) -> str:
    """A dog in each picture, and the line EXIT; the detector is asked for a dog and a cat, and fails on the last."""
    asked = [tag_to_arrow(Tag(name, 1.0, "caption", 0, 1)) for name in ("dog", "cat")]
    columns = {
        "ocr": (OCR_COLUMN, lambda _: [line_to_arrow(line("EXIT"))]),
        "tags": (TAGS_COLUMN, lambda _: asked),
        "boxes": (BOXES_COLUMN, lambda key: None if key == "3" else [detection_to_arrow(DOG)]),
    }
    return str(annotated(images, output, columns))  # type: ignore[arg-type]


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    samples = [(key, jpeg(int(key)), text, {"uid": f"u{key}"}) for key, text in ALT_TEXTS.items()]
    return annotate(write_samples(tmp_path / "webshop/data/0.tar", samples), tmp_path / "set")


def test_alt_texts(annotations: str) -> None:
    found = evaluate_captions(annotations).to_dict()
    assert found["images"] == {
        "images": 4,
        "checked": 3,
        "without_caption": 1,
        "without_lines": 0,
        "without_boxes": 1,
    }
    [score] = found["captions"]
    assert (score["source"], score["caption"], score["captions"], score["claims"]) == ("webshop", "alt_text", 3, 5)
    assert score["counts"]["thing"] == {"supported": 2, "contradicted": 1, "unchecked": 1}  # the door: no boxes
    assert score["counts"]["quote"] == {"supported": 1, "contradicted": 0, "unchecked": 0}
    assert score["contradicted"]["value"] == 1 / 5
    assert score["captions_contradicted"]["value"] == 1 / 3


def test_captions_of_another_set_have_its_columns_name(annotations: str, tmp_path: Path) -> None:
    texts = ["Three dogs.", "A cat.", "A dog.", "A dog."]
    pq.write_table(pa.table({"uid": ["u0", "u1", "u2", "x"], "dense": texts}), tmp_path / "dense.parquet")
    found = evaluate_captions(annotations, str(tmp_path / "dense.parquet"), "dense")
    assert (found.images.checked, found.images.without_caption) == (3, 1)
    [score] = found.scores
    assert (score.caption, score.claims, score.contradicted.value) == ("dense", 3, 2 / 3)


def test_captions_of_the_pass_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the alt texts; what was cut, refused or failed is counted and not checked."""
    samples = [(key, jpeg(int(key)), text, {"uid": f"u{key}"}) for key, text in ALT_TEXTS.items()]
    images = write_samples(tmp_path / "webshop/data/0.tar", samples)
    dense = {"0": written("Two dogs."), "1": written("A dog and a c", "truncated"), "2": written("A dog."), "3": None}
    knowledge = {key: written("A cat." if key == "0" else "A dog") for key in ALT_TEXTS} | {"1": written("", "refused")}
    asked = [tag_to_arrow(Tag(name, 1.0, "caption", 0, 1)) for name in ("dog", "cat")]
    found = {"tags": lambda _: asked, "boxes": lambda _: [detection_to_arrow(DOG)]}
    made = str(captioned(images, tmp_path / "set", {"dense": dense.get, "knowledge": knowledge.get}, found))
    evaluated = evaluate_captions(made).to_dict()
    assert [
        (score["caption"], score["captions"], score["claims"], score["contradicted"]["value"])
        for score in evaluated["captions"]
    ] == [("alt_text", 3, 5, 1 / 5), ("dense", 2, 2, 1 / 2), ("knowledge", 3, 3, 1 / 3)]
    shares = [score["contradicted"] for score in evaluated["captions"]]
    assert all(share["low"] < share["value"] < share["high"] for share in shares)
    assert evaluated["statuses"] == {
        "dense": {"ok": 2, "truncated": 1, "error": 1},
        "knowledge": {"ok": 3, "refused": 1},
    }
    assert (evaluated["images"]["checked"], evaluated["images"]["without_caption"]) == (4, 0)
    one = evaluate_captions(made, caption_name="dense")
    assert [score.caption for score in one.scores] == ["dense"]
    assert (one.images.checked, one.images.without_caption) == (2, 2)
    code, out, _ = run("captions", made, "--caption-name", "dense", capsys=capsys)
    assert (code, "dense: left out 1 truncated, 1 error" in out) == (0, True)
    with pytest.raises(UsageError, match="none of its 4 images has a caption long in it"):
        evaluate_captions(made, caption_name="long")


def test_sources_are_the_folders_of_the_shards(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_samples(tmp_path / f"{name}/{name}.tar", [("0", jpeg(0), "A dog", {})])
    found = evaluate_captions(annotate(f"{tmp_path}/*/*.tar", tmp_path / "set"))
    assert [(score.source, score.captions) for score in found.scores] == [("a", 1), ("b", 1), ("total", 2)]


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as done:
        main(["evaluate", *map(str, arguments)])
    return done.value.code, *capsys.readouterr()


def test_the_command(annotations: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("captions", annotations, "--json", capsys=capsys)
    assert (code, json.loads(out)) == (0, evaluate_captions(annotations).to_dict())
    code, out, _ = run("captions", annotations, capsys=capsys)
    assert code == 0
    assert "checked: 3 of 4 images" in out
    assert "alt_text of webshop: quote 1 (0 contradicted), thing 4 (1 contradicted), count 0 (0 contradicted)" in out
    assert "unknown: 1 without a caption, 1 without boxes" in out
    code, _, err = run("captions", annotations, "--fail-under", "alt_text.webshop.contradicted=0.1", capsys=capsys)
    assert code == 1
    assert err == "error: --fail-under: alt_text.webshop.contradicted is 0.2, over 0.1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["captions", "SET", "--truth", "x"], "--truth and --index are for boxes and ocr, not for captions"),
        (["captions", "SET", "--caption-column", "x"], "--caption-column: there are no files to take it from"),
        (["ocr", "SET"], "evaluate ocr: pass --truth"),
        (
            ["boxes", "SET", "--truth", "x", "--caption-from", "x"],
            "--caption-from, --caption-column and --caption-name are for captions",
        ),
    ],
)
def test_wrong_use_is_one_line(
    annotations: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(*[annotations if each == "SET" else each for each in arguments], capsys=capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_sets_without_evidence_or_captions_are_refused(
    make_shards: Callable[..., str], tmp_path: Path, annotations: str
) -> None:
    images = make_shards(tmp_path / "images", 1, 2)
    tagged = annotated(images, tmp_path / "tagged", {"tags": (TAGS_COLUMN, lambda _: [])})
    with pytest.raises(UsageError, match=r"has neither ocr nor boxes: annotate ocr,tags,boxes first"):
        evaluate_captions(str(tagged))
    pq.write_table(pa.table({"uid": ["x"], "caption": ["A dog."]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match=r"none of its 4 images has a caption in .*other\.parquet"):
        evaluate_captions(annotations, str(tmp_path / "other.parquet"))
