"""Pages in a real browser: no error, no request, words and places that light up together, quick and small enough.

Skipped without a headless Chromium: one in the PATH, or the one that SHARDLOOM_CHROMIUM names.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.browser import Tab, find_chromium, open_tab
from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from pipelines.view.options import ViewOptions
from pipelines.view.run import write_view
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.tar.writer import TarWriter
from tests.pipelines.support import viewed
from tests.pipelines.support.pages import HOSTILE
from tests.pipelines.support.sets import ALONE, annotated, caption_set, join, line
from tests.pipelines.support.views import make_set, noise

CHROMIUM = find_chromium()
MAX_SECONDS, MAX_BYTES = 3.0, 15 << 20  # of a page with 200 pictures

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

LIT = "[...document.querySelectorAll('.lit')].map((one) => one.tagName.toLowerCase())"
OVERLAID = """(() => {
  const [overlay, image] = ["svg", "img"].map((tag) => document.querySelector(`.card ${tag}`).getBoundingClientRect());
  return ["x", "y", "width", "height"].every((side) => Math.abs(overlay[side] - image[side]) < 1);
})()"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BROKEN = "[...document.images].filter((one) => one.complete && !one.naturalWidth).length"
HIDDEN = """(() => {
  const box = document.querySelector("input[data-layer]");
  box.click();
  return getComputedStyle(document.querySelector(".shape.layer-" + box.dataset.layer)).display;
})()"""
PRESS = "document.querySelector('{}').dispatchEvent(new {}('{}', {{bubbles: true, key: '{}'}}))"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    assert CHROMIUM is not None
    with open_tab(CHROMIUM) as opened:
        yield opened


def make_hostile_set(folder: Path, count: int) -> Path:
    """Annotations of so many pictures of photos' sizes, with hostile texts."""
    (folder / "images").mkdir()
    with (folder / "images/00000000.tar").open("wb") as file:
        writer = TarWriter(file)
        for number in range(count):
            writer.add(f"{number:06d}.jpg", noise(number % 5, 640, 480))
            writer.add(f"{number:06d}.txt", HOSTILE[number % len(HOSTILE)].replace("\x00", "").encode())
        writer.close()
    dog = detection_to_arrow(Detection("dog", "dog", (0.1, 0.2, 0.3, 0.4), 0.9))
    texts = [text.replace("\x00", "") for text in HOSTILE]
    return annotated(
        f"{folder}/images/*.tar",
        folder / "annotations",
        {
            "ocr": (
                OCR_COLUMN,
                lambda key: [line_to_arrow(line(texts[int(key) % len(texts)])), line_to_arrow(line("b"))],
            ),
            "tags": (TAGS_COLUMN, lambda _: [tag_to_arrow(Tag("dog", 0.8, "image"))]),
            "boxes": (BOXES_COLUMN, lambda _: [dog]),
        },
    )


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    page = folder / "page.html"
    totals = write_view(str(make_hostile_set(folder, 200)), str(page), ViewOptions(sample=200))
    assert totals.samples == 200
    assert totals.bytes < MAX_BYTES
    return page


def check_quiet(tab: Tab, page: Path) -> None:
    """Fails if the page, which has just been opened, complains, asks for anything, lacks a picture or is too wide."""
    assert tab.list_complaints() == []
    assert tab.list_requests() == [f"file://{page}"]
    assert (tab.run(BROKEN), tab.run(OVERFLOW)) == (0, 0)


@pytest.mark.parametrize("width", [1280, 400])
def test_200_pictures(tab: Tab, hostile_page: Path, width: int) -> None:
    seconds = tab.open(hostile_page, width)
    assert seconds < MAX_SECONDS
    check_quiet(tab, hostile_page)
    assert tab.run(OVERLAID)
    assert tab.run("document.images.length") == 200


@pytest.mark.parametrize("width", [1280, 400])
def test_words_and_places_light_up_together(tab: Tab, hostile_page: Path, width: int) -> None:
    tab.open(hostile_page, width)
    tab.point_at(".card .group .linked")
    hovered = tab.run(LIT)
    assert hovered.count("polygon") == 1
    assert "span" in hovered
    tab.point_at("h1")
    assert tab.run(LIT) == []
    tab.point_at(".card polygon.layer-boxes")
    assert (tab.run(LIT).count("polygon"), tab.run(LIT).count("span") > 0) == (1, True)
    tab.point_at("h1")
    tab.run(PRESS.format(".card .group .linked", "MouseEvent", "click", ""))
    assert tab.run(LIT) == hovered, "what is clicked stays lit"
    tab.run(PRESS.format("body", "KeyboardEvent", "keydown", "Escape"))
    assert tab.run(LIT) == []
    tab.run("document.querySelector('.card polygon').focus()")
    assert tab.run(LIT).count("polygon") == 1
    assert tab.run(HIDDEN) == "none"


def make_folder(kind: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A small set, run or evaluation of a kind, and the options to look at it with."""
    if kind in ("annotations", "truth", "captions"):
        annotations = make_set(folder, ["a dog", "<b>a cat</b>"])
        if kind == "captions":
            return caption_set(annotations, folder / "captions"), {}
        thing = {"file": "x", "uid": "u0", "objects": [viewed.DOG, viewed.CAT], "exhaustive_for": ["dog"]}
        return annotations, {"truth": viewed.write_truth(folder, [thing])} if kind == "truth" else {}
    if kind == "run":
        run = viewed.make_run(folder, [viewed.step(number) for number in range(1, 9)])
        (run / "held_out.jsonl").write_text(json.dumps({"step": 8, "loss": 1.0, "losses": {"ocr": 1.0}}))
        return run, {}
    if kind == "evaluation":
        return viewed.make_evaluation(folder, ["dog", *HOSTILE[:3]]), {}
    if kind == "conversations":
        return viewed.make_conversations(folder), {}
    training = viewed.make_training(folder)
    if kind == "training":
        return training, {}
    join(f"{folder}/images/*.tar", folder / "captions", folder / "again")
    sources = {name: [f"{folder}/{name}"] for name in ("training", "again")}
    mix(MixRecipe(sources=sources, weights={"training": 1, "again": 3}, run=ALONE), f"{folder}/mixed")
    return folder / "mixed", {}


KINDS = ("annotations", "truth", "captions", "training", "mixture", "conversations", "run", "evaluation")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_view(tab: Tab, tmp_path: Path, kind: str) -> None:
    folder, options = make_folder(kind, tmp_path)
    page = tmp_path / "page.html"
    write_view(str(folder), str(page), ViewOptions.model_validate(options))
    for width in (1280, 400):
        for scheme in ("light", "dark"):
            assert tab.open(page, width, scheme=scheme) < MAX_SECONDS
            check_quiet(tab, page)
            assert tab.run("document.querySelectorAll('.card').length") > 0
    if kind in ("annotations", "truth", "captions", "training"):
        tab.point_at(".card .group .linked")
        assert {"polygon", "span"} <= set(tab.run(LIT))
        assert tab.run(OVERLAID)


def test_the_page_can_run_no_script_and_ask_for_nothing(tab: Tab, hostile_page: Path, tmp_path: Path) -> None:
    """Its policy holds even where markup has slipped into it."""
    injected = '<script>document.title = "run"</script><img src="https://example.org/x.png"></body>'
    (page := tmp_path / "page.html").write_text(hostile_page.read_text().replace("</body>", injected))
    tab.open(page, 1280)
    assert tab.run("document.title") != "run"
    complaints = " ".join(tab.list_complaints())
    assert "script-src" in complaints
    assert "img-src" in complaints
