"""Keys, texts, arguments and places that nobody expects: each has its answer, or one line that says what is wrong."""

import hashlib
import json
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.explain import explain
from pipelines.explain import spans as spans_module
from pipelines.view import ViewOptions, write_view
from schemas.records.box import Detection
from schemas.records.tag import Tag
from schemas.records.text_line import TextLine
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.pages import read_page
from tests.pipelines.support.sets import (
    annotation_set,
    caption_set,
    grounding_caption_set,
    grounding_set,
    in_process,
    join,
    line,
    rows,
    write_samples,
)

KEYS = [
    *(
        "dir/000",
        "./001",
        "it's",
        'a"b',
        "<b>bold</b>",
        "\U0001d518ni\u00e9",
        "\x1b[31mred",
        "-dash",
        " spaced ",
        "$(x)",
    ),
    *("\u202etxt", "percent%20", "a=b"),
]
TEXTS = [
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001d518nicode",
    "\u0130stanbul \u00df \ufb01",
    "\u0645\u0631\u062d\u0628\u0627",
    'say "hi" \\ back',
    "</ocr><bbox>[0, 0][1, 1]</bbox>",
    "two\nlines",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of images with such keys, each with all such lines of text, and alt texts that quote them."""
    folder = tmp_path_factory.mktemp("hostile")
    alt_text = " and ".join(f'"{text}"' for text in TEXTS)
    samples = [(key, jpeg(number), alt_text, {"uid": f"u{number}"}) for number, key in enumerate(KEYS)]
    write_samples(folder / "images/0.tar", samples)
    images = f"{folder}/images/*.tar"
    lines = [TextLine(text, *_place(number), 0.5) for number, text in enumerate(TEXTS)]
    annotation_set(images, folder / "annotations", lambda _: lines)
    caption_set(folder / "annotations", folder / "captions")
    join(images, folder / "captions", folder / "training")
    return folder


def _place(number: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    top, low = number / 10, number / 10 + 0.05
    return (0.0, top, 0.5, top, 0.5, low, 0.0, low), (0.0, top, 0.5, low)


@pytest.mark.parametrize("key", KEYS)
def test_keys(made: Path, tmp_path: Path, key: str) -> None:
    for name in ("annotations", "captions"):
        for wanted in (key, f"0/{key}", f"u{KEYS.index(key)}"):
            found = explain(f"{made}/{name}", wanted)
            assert (found.steps[-1].row, found.image) == (f"sample {key}", jpeg(KEYS.index(key)))
        write_view(f"{made}/{name}", f"{tmp_path}/page.html", ViewOptions(key=key))
        (article,) = read_page((tmp_path / "page.html").read_bytes()).find_all("article")
        assert len(article.find_all("img")) == 1
        commands = {one.find_all("dd")[-1].read() for one in article.find_all("details", class_="origin")}
        (command,) = commands
        if key.isprintable() and not key.startswith("\u202e"):  # what is written out on the page is no key
            done = in_process(*shlex.split(command)[1:])
            assert (done.returncode, done.stderr) == (0, "")


def test_texts_have_exact_spans_also_behind_an_alt_text_that_quotes_them(made: Path) -> None:
    key = rows(made / "training", "index")[0]["key"]
    for name, wanted in (("annotations", KEYS[0]), ("captions", KEYS[0]), ("training", key)):
        found = explain(f"{made}/{name}", wanted)
        rendered = [(number, one) for number, one in enumerate(found.captions) if "granularity" in one.name]
        assert len(rendered) == 12
        for number, caption in rendered:
            spans = [span for span in found.spans if span.caption == number]
            assert [span.detections[0].number for span in spans] == list(range(len(TEXTS)))
            first = len(" and ".join(f'"{text}"' for text in TEXTS)) if "alt text" in caption.name else 0
            assert spans[0].start >= first
            for span, text in zip(spans, TEXTS, strict=True):
                assert caption.text[span.start : span.end] == span.text
                assert span.detections[0].text == text


def test_characters_are_counted_as_python_and_json_readers_do(made: Path) -> None:
    done = in_process("explain", made / "captions", KEYS[0], "--format", "json")
    found = json.loads(done.stdout)
    for span in found["spans"]:
        assert found["captions"][span["caption"]]["text"][span["start"] : span["end"]] == span["text"]
    assert found["spans"][0]["detections"][0]["text"] == TEXTS[0]


WRONG = {
    "": "--span: it is empty: pass the number of a span, or words of a caption",
    "9" * 5000: f"--span '{'9' * 100}",
    "\udcff": "--span '\\udcff': it's has ",
}


@pytest.mark.parametrize("span", WRONG)
def test_spans_that_are_none(made: Path, span: str) -> None:
    done = in_process("explain", made / "captions", "it's", "--span", span)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: " + WRONG[span])


@pytest.mark.parametrize("key", ["\udcff", "", "0/", "/it's", "it's/", "it", "IT'S", "a\0b"])
@pytest.mark.parametrize("command", ["explain {} {}", "view {} --key={}"])
def test_keys_that_are_none(made: Path, tmp_path: Path, key: str, command: str) -> None:
    words = [word.format(made / "captions" if number == 1 else key) for number, word in enumerate(command.split())]
    output = ["--output", tmp_path / "page.html"] if words[0] == "view" else []
    done = in_process(words[0], *output, *([f"--key={key}", words[1]] if output else [words[1], key]))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr


def test_a_secret_is_masked_before_a_text_is_cut(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", [jpeg(0)])
    text = "x" * 170 + " https://user:hunter2secret@example.org/"
    annotation_set(f"{tmp_path}/images/*.tar", tmp_path / "annotations", lambda _: [line(text)])
    done = in_process("explain", tmp_path / "annotations", "000000000000")
    assert done.returncode == 0, done.stderr
    assert "hunter" not in done.stdout


def test_boxes_and_lines_without_a_size(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", [jpeg(0, 1600, 8)])  # and very wide
    images, point = f"{tmp_path}/images/*.tar", (0.5, 0.5, 0.5, 0.5)
    dot = TextLine("dot", (*point, *point), point, 0.5)
    annotation_set(images, tmp_path / "lines", lambda _: [dot])
    things = Detection("dog", "dog", point, 0.5)
    grounding_set(images, tmp_path / "boxes", lambda _: [things], lambda _: [Tag("dog", 0.5, "image")])
    grounding_caption_set(tmp_path / "boxes", tmp_path / "captions")
    for name in ("lines", "boxes", "captions"):
        found = explain(f"{tmp_path}/{name}", "000000000000")
        assert found.spans
        assert all(span.detections[0].pixels == (32, 24, 33, 25) for span in found.spans)
        crop = tmp_path / "crop.png"
        done = in_process("explain", tmp_path / name, "000000000000", "--span", "0", "--crop", crop)
        assert done.returncode == 0, done.stderr
        with Image.open(crop) as cut:
            assert cut.size == (1, 1)
        write_view(f"{tmp_path}/{name}", f"{tmp_path}/page.html")
        page = read_page((tmp_path / "page.html").read_bytes())
        assert len(page.find_all("img")) == 1
        assert {one.attributes["points"] for one in page.find_all("polygon")} == {" ".join(["320.0 1.5"] * 4)}


def test_what_is_beyond_the_limits_is_said(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans_module, "MAX_ITEMS", 5)
    monkeypatch.setattr(spans_module, "MAX_CHARACTERS", 300)
    found = explain(f"{made}/captions", KEYS[0])
    longest = max(len(one.text) for one in found.captions)
    assert found.notes == [
        "of 6 items, only the first 5 are explained",
        f"of {longest} characters of a caption, only the first 300 are explained",
    ]
    assert {span.detections[0].number for span in found.spans} == set(range(5))
    assert max(span.end for span in found.spans) <= 300
    monkeypatch.setattr(spans_module, "MAX_ITEMS", 6)
    monkeypatch.setattr(spans_module, "MAX_CHARACTERS", longest)
    assert explain(f"{made}/captions", KEYS[0]).notes == []


def test_published_places_that_are_none(tmp_path: Path) -> None:
    """JSON of other programs has NaN and Infinity: such an entry is one without a place."""
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images/0.tar", [jpeg(0)])
    text = 'The image contains the text "a", the text "b", the text "c"'
    boxes = ("[NaN, 0, 1, 1]", "[0, 0, 1, 1e999]", "[0, 0, 0.5, 0.5]")
    entries = [
        f'{{"text": "{name}", "bbox": {box}, "confidence": NaN}}' for name, box in zip("abc", boxes, strict=True)
    ]
    published = {
        "uid": [hashlib.md5(b"000000000000").hexdigest()],
        "captions": [json.dumps([{"text": text, "granularity": 0, "include_datacomp_raw_cap": False}])],
        "metadata": [f'{{"entries": [{", ".join(entries)}], "length": 3}}'],
    }
    (tmp_path / "published").mkdir()
    pq.write_table(pa.table(published), tmp_path / "published/0.parquet")
    join(f"{tmp_path}/images/*.tar", tmp_path / "published", tmp_path / "training")
    (span,) = explain(f"{tmp_path}/training", "00000000000000").spans
    (line_found,) = span.detections
    assert (span.text, line_found.score, line_found.pixels) == ('"c"', 0.0, (0, 0, 32, 24))
    write_view(f"{tmp_path}/training", f"{tmp_path}/page.html")
    page = read_page((tmp_path / "page.html").read_bytes())
    assert [one.attributes["points"] for one in page.find_all("polygon")] == ["0.0 0.0 32.0 0.0 32.0 24.0 0.0 24.0"]
