"""An annotation set as a page: boxes over pictures, captions tied to them, claims, and what was quarantined."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.view.options import ViewOptions
from pipelines.view.run import ViewTotals, write_view
from schemas.errors import UsageError
from schemas.records.text_line import TextLine, line_to_arrow
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.pages import HOSTILE, Element, read_page
from tests.pipelines.support.views import SIGN, make_set


def show(annotations: Path, page: Path, **options: Any) -> tuple[ViewTotals, Element]:
    totals = write_view(str(annotations), str(page), ViewOptions.model_validate(options))
    assert totals.bytes == page.stat().st_size
    return totals, read_page(page.read_bytes())


def find_words(article: Element, shape: str) -> list[str]:
    """The words that are tied to a shape, in the page's order."""
    return [
        one.read()
        for one in article.find_all("span", class_="linked")
        if shape in one.attributes["data-shapes"].split()
    ]


def test_pictures_with_boxes_and_captions_that_are_tied_to_them(tmp_path: Path) -> None:
    totals, page = show(make_set(tmp_path, ["dog by a sign"]), tmp_path / "page.html")
    assert (totals.kind, totals.samples, totals.quarantined, totals.notes) == ("annotate", 1, 0, [])
    (article,) = page.find_all("article")
    assert article.find_all("h2")[0].read() == "00000000/000000000000"
    shapes = article.find_all("polygon")
    assert [one.attributes["class"] for one in shapes] == ["shape layer-ocr", "shape layer-boxes"]
    assert [one.attributes["points"] for one in shapes] == [
        "32.0 24.0 57.6 26.4 57.6 36.0 32.0 33.6",
        "6.4 9.6 19.2 9.6 19.2 19.2 6.4 19.2",
    ]
    groups = {one.find_all("h3")[0].read(): one for one in article.find_all("section", class_="group")}
    assert list(groups) == [
        "Captions by models",
        "Captions as `render ocr` makes them",
        "Captions as `render grounding` makes them",
    ]
    ocr, grounding = (groups[f"Captions as `render {name}` makes them"] for name in ("ocr", "grounding"))
    assert len(ocr.find_all("p", class_="body")) == 12
    assert find_words(ocr, "0")[:2] == ['"STOP"', '"STOP" located to the right of the center']
    assert len(find_words(ocr, "0")) == 12
    assert (
        find_words(grounding, "1")
        == [
            "dog (at the top left corner)",
            "dog (starts at [0.1, 0.2] and extends upto [0.3, 0.4])",
            "<object>dog</object><bbox>[0.1, 0.2][0.3, 0.4]</bbox>",
        ]
        * 2
    )


def test_claims_are_coloured_as_evaluate_finds_them(tmp_path: Path) -> None:
    _, page = show(make_set(tmp_path, ["a dog"]), tmp_path / "page.html")
    group = page.find_all("section", class_="group")[0]
    marked = {
        status: [(one.read(), one.attributes["title"]) for one in group.find_all("span", class_=status)]
        for status in ("supported", "contradicted", "unchecked")
    }
    assert marked["supported"] == [
        ("dog", "thing: supported by boxes (1 boxes of dog)"),
        ('"STOP"', "quote: supported by ocr"),
    ]
    assert marked["contradicted"] == [
        ("Two dogs", "count: contradicted by boxes (1 boxes of dog)"),
        ("cat", "thing: contradicted by boxes (0 boxes of cat)"),
    ]
    assert [one.read() for one in group.find_all("small")] == ["ok, 10 tokens"]
    assert find_words(group, "0") == ['"STOP"']
    assert find_words(group, "1") == ["dog", "Two dogs"]


def test_hostile_captions_lines_and_keys(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if "\x00" not in text]

    def read_lines(key: str) -> list[Any]:
        return [line_to_arrow(TextLine(texts[int(key)], SIGN.polygon, SIGN.box, 0.5))]

    _, page = show(make_set(tmp_path, texts, read_lines), tmp_path / "page.html")
    assert len(page.find_all("script")) == 1
    assert page.find_all("iframe") == []
    assert len(page.find_all("img")) == len(texts)
    for article in page.find_all("article"):
        group = article.find_all("section", class_="group")[1]
        assert len(find_words(group, "0")) == 12, "the line is tied to its box in every caption"


def test_one_key_and_a_condition(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["dog", "cat", "cow"])
    for options in ({"key": "u1"}, {"where": "caption = 'cat' AND array_length(ocr) = 1"}):
        totals, page = show(annotations, tmp_path / "page.html", **options)
        assert totals.samples == 1
        assert [one.read() for one in page.find_all("h2") if "/" in one.read()] == ["00000000/000000000001"]
    with pytest.raises(UsageError, match="there is no column 'captoin'"):
        show(annotations, tmp_path / "page.html", where="captoin = 'cat'")


def test_images_that_have_moved(tmp_path: Path) -> None:
    annotations = make_set(tmp_path, ["dog"])
    (tmp_path / "images").rename(tmp_path / "moved")
    totals, page = show(annotations, tmp_path / "page.html")
    assert totals.notes == [
        f"the images were in {tmp_path}/images, which is not there or may not be asked: pass --images"
    ]
    assert page.find_all("figure", class_="absent")[0].read().strip() == "its image was not found"
    totals, page = show(annotations, tmp_path / "page.html", images=[f"{tmp_path}/moved/*.tar"])
    assert (totals.notes, len(page.find_all("img"))) == ([], 1)
    write_shard(tmp_path / "moved/00000000.tar", [jpeg(9)])
    _, page = show(annotations, tmp_path / "page.html", images=[f"{tmp_path}/moved/*.tar"])
    assert page.find_all("figure", class_="absent")[0].read().strip() == "its image has changed since the set was made"


def test_charts_of_what_was_read(tmp_path: Path) -> None:
    _, page = show(make_set(tmp_path, ["dog", "cat"]), tmp_path / "page.html")
    titles = [one.read() for one in page.find_all("figcaption")]
    assert titles == [
        *("Confidence of text lines", "Scores of boxes", "Labels of boxes"),
        *("Scores of tags seen in pictures", "Tags", "Captions by models"),
    ]
