"""A page is one file that makes no request, and shows any text as a text, whatever it holds."""

import re

import pytest

from pipelines.view.html import hash_script, show_text, write_html
from pipelines.view.page import (
    MAX_TEXT,
    Bars,
    Card,
    Chip,
    Chips,
    Interval,
    Intervals,
    Page,
    Picture,
    Piece,
    Section,
    Shape,
    Text,
    TextGroup,
)
from pipelines.view.run import fit_page
from schemas.errors import UsageError
from tests.pipelines.support.pages import HOSTILE, list_elements, read_page

TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style body header p h1 h2 h3 h4 bdi dl div dt dd main section figure figcaption table "
        "tr th td text span small article img svg polygon details summary ul li script fieldset legend label input",
    )
)


def make_page(text: str) -> Page:
    """A page with this text in every place that a set can fill."""
    shape = Shape(0, "ocr", (0, 0, 1, 0, 1, 1, 0, 1), text, 0.5, is_labelled=True, status="missed")
    picture = Picture("data:image/webp;base64,AAAA", 64, 48, (shape,), title=text)
    texts = (Text(text, (Piece(text, (0,), "supported", text),), text), Text("", (Piece(text),)))
    blocks = (
        picture,
        Picture(fault=text),
        *texts,
        TextGroup(text, texts),
        Chips(text, (Chip(text, text, (0,), "supported"),)),
    )
    cards = (Card(text, blocks, ((text, text),)), Card(text, blocks, is_wide=True))
    sections = [Section(text, cards, text), Section(text, cards, text, is_dense=True)]
    charts = [Bars(text, ((text, 0.5, text),), text), Intervals(text, (Interval(text, 0.5, 0.4, 0.6, text),), text)]
    return Page(text, text, [(text, text)], charts, sections, [text], ("ocr", "truth"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(text: str) -> None:
    page = read_page(write_html(make_page(text)))
    elements = list_elements(page)
    assert {one.tag for one in elements} <= TAGS
    assert len(page.find_all("script")) == len(page.find_all("style")) == 1
    assert len(page.find_all("img")) == 4
    for element in elements:
        assert not [
            name for name in element.attributes if name.startswith("on") or name in ("href", "srcset", "action")
        ]
        assert element.attributes.get("src", "data:").startswith("data:")
        assert element.tag == "span" or "style" not in element.attributes
    shown = show_text(text)
    (title, *_) = page.find_all("h1")
    assert title.read() == shown
    bodies = [one.read() for one in page.find_all("p", class_="body")]
    assert bodies == [shown] * len(bodies)
    assert {one.attributes["title"] for one in page.find_all("span", class_="supported")} == {shown}
    assert {one.attributes["alt"] for one in page.find_all("img")} == {shown}


def test_controls_are_written_out() -> None:
    assert show_text("\u202egnp.exe\x00\x1b[2J") == r"\u202egnp.exe\x00\x1b[2J"
    assert show_text("two\nlines\u2028more") == "two\nlines\\u2028more"
    assert show_text("\ud800") == r"\ud800"
    assert show_text("مرحبا") == "مرحبا"


def test_long_texts_and_secrets() -> None:
    assert show_text("a" * (MAX_TEXT + 5)) == "a" * MAX_TEXT
    assert "hunter2" not in show_text("s3://user:hunter2@host/x")
    assert "hunter2" not in show_text("b" * (MAX_TEXT - 20) + " https://user:hunter2@host/x")


def test_the_policy_allows_no_request_and_the_own_script_alone() -> None:
    page = read_page(write_html(make_page("x")))
    (script,) = page.find_all("script")
    (policy,) = (one.attributes["content"] for one in page.find_all("meta") if "http-equiv" in one.attributes)
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{hash_script(script.read())}'"
    )
    assert "://" not in script.read()
    assert "url(" not in page.find_all("style")[0].read()


def test_words_and_shapes_that_belong_together_can_be_reached_by_keyboard() -> None:
    page = read_page(write_html(make_page("x")))
    (article, *_) = page.find_all("article")
    linked = [one for one in list_elements(article) if "data-shapes" in one.attributes]
    assert {one.tag for one in linked} == {"polygon", "span", "li"}
    assert {one.attributes["data-shapes"] for one in linked} == {"0"}
    assert {one.attributes["tabindex"] for one in linked} == {"0"}
    (polygon,) = article.find_all("polygon")
    assert polygon.attributes["points"] == "0.0 0.0 64.0 0.0 64.0 48.0 0.0 48.0"
    assert polygon.read() == "x 0.50 (missed)"


def test_a_page_that_is_too_large_loses_cards() -> None:
    cards = tuple(Card(str(number), (Text("", (Piece("word " * 200),)),)) for number in range(100))
    page = Page("set", "annotate", sections=[Section("Annotations", cards)])
    whole = len(write_html(page))
    data = fit_page(page, whole // 2)
    assert whole // 3 < len(data) <= whole // 2
    kept = len(page.sections[0].cards)
    assert page.sections[0].note == f"the first {kept} of 100, because the page has reached its size"
    assert [card.key for card in page.sections[0].cards] == [str(number) for number in range(kept)]
    with pytest.raises(UsageError, match=r"the page has .* bytes without any sample: raise --max-megabytes"):
        fit_page(page, 100)


def test_a_page_loses_no_card_too_many() -> None:
    cards = tuple(Card(str(number), (Text("", (Piece("word " * 500),)),)) for number in range(3))
    page = Page("set", "annotate", sections=[Section("Annotations", cards)])
    whole = write_html(page)
    assert fit_page(page, len(whole)) == whole
    fit_page(page, len(whole) - 1)
    assert page.sections[0].cards == cards[:2]
    assert page.sections[0].note == "the first 2 of 3, because the page has reached its size"
