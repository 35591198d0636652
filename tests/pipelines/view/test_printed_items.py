"""Each line of text and each box is found in the captions that were rendered from it, in every granularity."""

from typing import Any

import pyarrow as pa
import pytest

from curation.captions.grounding import render_grounding_captions
from curation.captions.ocr import preview_captions, render_ocr_captions
from curation.captions.presets import get_default, list_presets, load_preset
from curation.captions.template_file import CaptionTemplate
from pipelines.view.page import Shape, number_shapes
from pipelines.view.printed_items import PrintedItem, find_spans, find_template, print_items
from schemas.layouts.blip3_grounding import parse_captions
from schemas.layouts.blip3_ocr import parse_captions as parse_ocr_captions
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.caption import Caption
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow

TEXTS = ["FIRST", 'say "hi"', "FIRST", "</ocr><bbox>", "with, comma", "(in the center)"]
SIZE = (640, 480)


def make_line(number: int, text: str) -> TextLine:
    box = (0.1, 0.1 * number, 0.4, 0.1 * number + 0.05)
    return TextLine(text, (0.1, box[1], 0.4, box[1], 0.4, box[3], 0.1, box[3]), box, 0.9)


def make_shapes(items: list[Any]) -> tuple[Shape, ...]:
    return number_shapes([Shape(0, "x", (), "") for _ in items], 0)


def link(template: Any, items: list[dict[str, Any]], caption: Caption) -> list[tuple[str, tuple[int, ...]]]:
    """The words of each span with its shapes."""
    printed = print_items(template, items, make_shapes(items), SIZE)
    return [
        (caption.text[one.start : one.end], one.shapes)
        for one in find_spans(caption.text, printed[caption.granularity], template)
    ]


def render_lines(lines: list[TextLine], raw: str, template: CaptionTemplate) -> list[Caption]:
    """All captions of a picture, with and without the alt text."""
    ocr = pa.array([[line_to_arrow(line) for line in lines]], OCR_COLUMN.type)
    sizes = {name: pa.array([side], pa.int32()) for name, side in zip(("width", "height"), SIZE, strict=True)}
    texts = (pa.array([raw], pa.string()), pa.nulls(1, pa.string()))
    return parse_ocr_captions(render_ocr_captions(ocr, *texts, None, "both", template, sizes).captions[0].as_py())


@pytest.mark.parametrize("raw", ["", 'A sign that says "FIRST".'])
@pytest.mark.parametrize("preset", list_presets("ocr"))
def test_every_line_is_found_in_order(preset: str, raw: str) -> None:
    template = load_preset("ocr", preset).template
    lines = [make_line(number, text) for number, text in enumerate(TEXTS)]
    for caption in render_lines(lines, raw, template):
        found = link(template, [line_to_arrow(line) for line in lines], caption)
        assert [shapes for _, shapes in found] == [(number,) for number in range(len(TEXTS))], caption


@pytest.mark.parametrize("preset", list_presets("ocr"))
def test_the_alt_text_is_not_taken_for_the_lines_that_it_names(preset: str) -> None:
    template = load_preset("ocr", preset).template
    lines = [line_to_arrow(make_line(number, text)) for number, text in enumerate(["FIRST", "A", "FIRST"])]
    raw = 'A sign that says "FIRST", "A" and "FIRST"'
    for caption in render_lines(
        [make_line(number, text) for number, text in enumerate(["FIRST", "A", "FIRST"])], raw, template
    ):
        printed = print_items(template, lines, make_shapes(lines), SIZE)[caption.granularity]
        spans = find_spans(caption.text, printed, template)
        list_start = len(raw) if caption.include_datacomp_raw_cap else 0
        assert min(one.start for one in spans) >= list_start
        assert [one.shapes for one in spans] == [(0,), (1,), (2,)]
        assert caption.text[spans[-1].end :] == template.tail


def test_a_list_that_is_longer_than_a_page_shows() -> None:
    items = [PrintedItem(number, '"', str(number), '"') for number in range(3)]
    text = 'It says "0". The image contains the text "0", the text "1", the text "2"'
    shown = find_spans(text, items, get_default("ocr"), text.index('"2"'))
    assert [(text[one.start : one.end], one.shapes) for one in shown] == [('"0"', (0,)), ('"1"', (1,))]
    assert shown[0].start == text.rindex('"0"')
    assert find_spans(text, items[:2], get_default("ocr"))[0] == shown[0], "the first of more items than are looked for"


def test_a_line_with_its_place() -> None:
    lines = [make_line(0, "STOP"), make_line(9, "GO")]
    captions = preview_captions(lines, "", [1, 4], "without")
    items = [line_to_arrow(line) for line in lines]
    assert link(get_default("ocr"), items, captions[0]) == [
        ('"STOP" located at the top left corner', (0,)),
        ('"GO" located at the bottom left corner', (1,)),
    ]
    assert link(get_default("ocr"), items, captions[1])[0] == (
        '"STOP" starts at [0.1, 0.0] and extends up to [0.4, 0.05]',
        (0,),
    )


def ground(boxes: list[Detection], alt_text: str) -> tuple[list[dict[str, Any]], list[Caption]]:
    items = [detection_to_arrow(box) for box in boxes]
    column = pa.array([items], BOXES_COLUMN.type)
    found = render_grounding_captions(column, pa.array([alt_text]), raw_caption="with")
    return items, parse_captions(found.captions[0].as_py())


DOG, OTHER_DOG = (Detection("dog", "dog", (0.1, 0.1 + y, 0.3, 0.3 + y), 0.9 - y) for y in (0.0, 0.5))
KNIFE = Detection("knife", "knife", (0.6, 0.1, 0.9, 0.2), 0.5)


def test_mentions_and_the_list_of_others() -> None:
    items, captions = ground([DOG, OTHER_DOG, KNIFE], "Dogs play with a dog near knives")
    for caption in captions:
        found = link(get_default("grounding"), items, caption)
        assert sorted(shapes for _, shapes in found) == [(0,), (1,), (2,)], caption.text
    words = {shapes[0]: text for text, shapes in link(get_default("grounding"), items, captions[0])}
    assert words[2].startswith("knife")
    assert {words[0].split(" ")[0], words[1].split(" ")[0]} == {"Dogs", "dog"}


def test_a_mention_in_another_form_is_found_by_its_place() -> None:
    items, captions = ground([DOG], "Two big DOGS play")
    assert link(get_default("grounding"), items, captions[0]) == [("DOGS (at the top left corner)", (0,))]
    (tagged,) = link(get_default("grounding"), items, captions[2])
    assert tagged == ("<object>DOGS</object><bbox>[0.1, 0.1][0.3, 0.3]</bbox>", (0,))


def test_items_that_overlap_each_other() -> None:
    items = [PrintedItem(number, "", name, "") for number, name in enumerate(("aa", "aab", "aa", "b", "b"))]
    assert [(one.start, one.end, one.shapes) for one in find_spans("aaaabb", items)] == [
        (0, 2, (0,)),
        (2, 5, (1,)),
        (5, 6, (3,)),
    ]


def test_items_that_are_not_in_the_caption() -> None:
    assert link(get_default("ocr"), [line_to_arrow(make_line(0, "STOP"))], Caption("nothing of it", 0, False)) == []
    assert find_template("knowledge", None) is None
    assert find_template("ocr", None) == get_default("ocr")
