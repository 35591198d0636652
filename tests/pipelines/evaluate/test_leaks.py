"""`evaluate model --leaks`: planted questions are found in sets of captioned images and documents, and nothing else."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from schemas.output_set.recipe_file import dump_yaml
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, DocumentImage
from tests.curation.leaks.support.copies import crop, draw_photo, encode, recompress
from tests.pipelines.evaluate.conftest import Run
from tests.training.support import tiny
from tests.training.support.sets import captioned, write_set
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

QUESTION = "On which side of the narrow wooden bridge does the second rider wait?"
COUNT = 5


def picture(number: int) -> Image.Image:
    return draw_photo(number, 160, 120)


def show(number: int, image: Image.Image, text: str) -> CaptionedImage:
    """A captioned image of a picture."""
    data = encode(image)
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(captioned(number, text), image=data, width=image.width, height=image.height, sha256=sha256)


def document(number: int, image: Image.Image, text: str) -> Document:
    data = encode(image)
    shown = DocumentImage(data, "jpg", *image.size, hashlib.sha256(data).hexdigest(), None, "{}")
    return Document(f"d{number:06d}", None, "docs", None, (0, text), (shown,), "{}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a task of five pictures, and two sets with three of its questions."""
    place = tmp_path_factory.mktemp("leaks")
    options = tiny.options(tiny.write_tokenizer(place / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), place / "model", prompts=PromptOptions())
    rows = [{"id": f"q{n}", "image": f"{n}.jpg", "question": f"What is {n}?", "answers": ["x"]} for n in range(COUNT)]
    rows[1]["question"] = rows[2]["question"] = QUESTION
    (place / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in range(COUNT):
        (place / f"{number}.jpg").write_bytes(encode(picture(number)))
    task = {"questions": {"path": "task.jsonl"}, "metric": "exact_match", "max_new_tokens": 2}
    (place / "task.yaml").write_bytes(dump_yaml(task))
    images = [show(n, picture(100 + n), f"a picture of {n}") for n in range(40)]
    images[37] = show(37, recompress(crop(picture(0), 0.05, 0, 1), 60), "nothing")
    write_set(place / "images", images, shard=36)
    write_set(place / "docs", [document(0, picture(200), "no"), document(1, picture(1), f"{QUESTION.upper()} Left.")])
    write_set(place / "clean", images[:5])
    write_set(
        place / "short", [document(0, picture(201), "Look at it. What is 3?\nA kite."), document(1, picture(202), "No")]
    )
    return place


def test_planted_questions(run: Run, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    arguments = ("model", "-t", "task.yaml", "--leaks", "images", "--leaks", "docs", "-o", output, "--device", "cpu")
    code, found, _ = run(*arguments, "--json")
    assert code == 0
    (task,) = found["tasks"]
    leaks = task["leaks"]
    assert leaks["compared"] == {
        "sets": ["images", "docs"],
        "samples": 42,
        "images": 42,
        "unusable_images": 0,
        "flat_images": 0,
        "questions_without_images": 0,
        "questions_without_texts": 0,
        "questions_with_short_texts": 3,
    }
    assert (leaks["questions"], leaks["by_image"], leaks["by_text"], leaks["by_both"]) == (3, 2, 2, 1)
    assert leaks["by_short_text"] == 0
    assert leaks["leaked"]["value"] == 0.6
    assert [(one["question"], one["set"], one["key"], one["share"]) for one in leaks["pairs"]] == [
        ("q0", "images", "data/00000001.tar/c000037", None),
        ("q1", "docs", "data/00000000.tar/d000001", 1.0),
        ("q2", "docs", "data/00000000.tar/d000001", 1.0),
    ]
    assert [one["distance"] is None for one in leaks["pairs"]] == [False, False, True]
    assert leaks["figures"]["exact_match"]["value"] == 0.0

    code, out, err = run("--from-rows", output, "--fail-under", "task-0shot.leaks.leaked=0.5")
    assert code == 1
    assert err == "error: --fail-under: task-0shot.leaks.leaked is 0.6, over 0.5\n"
    words = " ".join(out.split())
    assert (
        "task-0shot: 3 of 5 questions (60.0%) are in images, docs: 2 by an image, 2 by a text, 1 by both in one of its "
        "42 samples 3 questions have texts of 3 to 7 words alone, found where a line or sentence is equal "
        "q0 = images/data/00000001.tar/c000037 (image, "
    ) in words
    assert " bits differ; text, 100% of its 8-grams) q2 = docs/data/00000000.tar/d000001 (text, 100% of " in words
    assert words.endswith("exact_match without them: 0.0, 0.0-0.0")


def test_stored_predictions_are_compared_as_new_ones(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, sets = str(tmp_path / "out"), ("--leaks", "images", "--leaks", "docs")
    code, found, _ = run("model", "-t", "task.yaml", *sets, "-o", output, "--device", "cpu", "--json")
    assert code == 0
    code, _, _ = run("model", "-t", "task.yaml", "-o", str(tmp_path / "plain"), "--device", "cpu", "--json")
    assert code == 0
    files = {path: path.read_bytes() for path in (tmp_path / "plain").rglob("*.*")}
    code, again, _ = run("--from-rows", str(tmp_path / "plain"), *sets, "--json")
    assert (code, again) == (0, found)
    assert files == {path: path.read_bytes() for path in (tmp_path / "plain").rglob("*.*")}, "nothing is written"
    code, again, _ = run("--from-rows", output, "--leaks", "clean", "--json")
    assert (code, again["tasks"][0]["leaks"]["questions"]) == (0, 0), "in place of those that are stored"

    clean = str(Path("clean").resolve())
    monkeypatch.chdir(tmp_path)
    code, out, err = run("--from-rows", "plain", "--leaks", clean)
    message = "error: --leaks: the questions of task are read again, for their images: no file matches task.jsonl\n"
    assert (code, out, err) == (2, "", message)


def test_a_short_question(run: Run, tmp_path: Path) -> None:
    """It is told apart, since it may be asked about any image."""
    output = str(tmp_path / "out")
    code, _, _ = run("model", "-t", "task.yaml", "-o", output, "--device", "cpu", "--json")
    assert code == 0
    code, found, _ = run("--from-rows", output, "--leaks", "short", "--json")
    assert code == 0
    leaks = found["tasks"][0]["leaks"]
    assert (leaks["questions"], leaks["by_image"], leaks["by_text"], leaks["by_short_text"]) == (1, 0, 1, 1)
    assert leaks["pairs"] == [
        {
            "question": "q3",
            "set": "short",
            "key": "data/00000000.tar/d000000",
            "distance": None,
            "share": 1.0,
            "is_short": True,
        }
    ]
    code, out, _ = run("--from-rows", output, "--leaks", "short")
    assert code == 0
    words = " ".join(out.split())
    assert "1 of them by a text of under 8 words alone, which may be asked about any image" in words
    assert "q3 = short/data/00000000.tar/d000000 (text, a whole line or sentence)" in words


def test_a_clean_set(run: Run, tmp_path: Path) -> None:
    arguments = ("-t", "task.yaml", "--leaks", "clean", "-o", str(tmp_path / "out"), "--device", "cpu", "--json")
    code, found, _ = run("model", *arguments)
    assert code == 0
    leaks = found["tasks"][0]["leaks"]
    assert (leaks["questions"], leaks["pairs"], leaks["leaked"]["value"]) == (0, [], 0.0)
    assert leaks["figures"] == found["tasks"][0]["figures"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "--leaks: there is no folder nowhere: pass a set of training shards"),
        ("model", "--leaks: "),
    ],
)
def test_what_is_no_set(run: Run, tmp_path: Path, place: str, message: str) -> None:
    code, out, err = run("model", "-t", "task.yaml", "--leaks", place, "-o", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
