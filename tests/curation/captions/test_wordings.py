"""Grounding captions by templates, by exact texts: what is written around labels, and where a list is expected."""

import pyarrow as pa
import pytest

from curation.captions.grounding import render_grounding_captions
from curation.captions.inverse import ReadCaption, ReadItem, read_caption
from curation.captions.template_file import CaptionTemplate, load_template
from schemas.layouts.blip3_grounding import parse_captions
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow

FOUND = [Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.9), Detection("cat", "cat", (0.0, 0.0, 0.1, 0.5), 0.8)]


def make(item: str, more: str = "") -> CaptionTemplate:
    content = f"family: grounding\nlead_in: 'Seen: '\n{more}granularities: {{1: {item!r}}}"
    return load_template(content.encode(), "own", "grounding").template


def render(template: CaptionTemplate, base: str, found: list[Detection] = FOUND) -> str:
    boxes = pa.array([list(map(detection_to_arrow, found))], BOXES_COLUMN.type)
    sizes = {"width": pa.array([640], pa.int32()), "height": pa.array([480], pa.int32())}
    one = pa.array([base])
    columns = render_grounding_captions(boxes, one, None, one, None, "without", template, sizes)
    return parse_captions(columns.captions[0].as_py())[0].text


@pytest.mark.parametrize(
    ("item", "more", "text"),
    [
        ("<t>{label}</t>{{{x1}}}", "", "A <t>dog</t>{0.25} sits. Seen: <t>cat</t>{0.0}"),
        ("<b>({x2_pixels}, {y2_pixels})</b>{label}", "", "A <b>(480, 360)</b>dog sits. Seen: <b>(64, 240)</b>cat"),
        ("{label} [{score}]", "separator: ' + '\ntail: '!'\n", "A dog [0.9] sits. Seen: cat [0.8]!"),
        ("{label}", "", "A dog sits. Seen: cat"),
    ],
)
def test_what_is_written_around_labels(item: str, more: str, text: str) -> None:
    assert render(make(item, more), "A dog sits.") == text


def test_a_list_has_its_separators_and_its_tail() -> None:
    template = make("{label} [{score}]", "separator: ' + '\ntail: '!'\n")
    assert render(template, "") == "Seen: dog [0.9] + cat [0.8]!"


def test_a_caption_that_would_be_read_as_a_list_gets_one() -> None:
    template = make("{label} [{score}]", "tail: '!!'\n")
    text = render(template, "Seen: dog!!", FOUND[:1])
    assert text == "Seen: dog!! Seen: dog [0.9]!!"
    assert read_caption(template, 1, text) == ReadCaption("Seen: dog!!", [], [ReadItem("dog", {"score": "0.9"})])


def test_the_words_of_templates_that_cannot_be_read_back_stay_as_they_are() -> None:
    assert render(make("a {label} ({position})"), "x (in the center) <object> &#40;").startswith(
        "x (in the center) <object> &#40;. Seen: a dog (in the center), a cat"
    )
