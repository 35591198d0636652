"""The templates that ship can be read back, and those of the paper by the readers of the published layouts as well."""

import pyarrow as pa
import pytest

from curation.captions.grounding import render_grounding_captions
from curation.captions.inverse import read_caption, read_items
from curation.captions.inversion import invert
from curation.captions.ocr import preview_captions, render_ocr_captions
from curation.captions.presets import get_default, list_presets, load_preset
from schemas.errors import UsageError
from schemas.layouts import blip3_grounding
from schemas.layouts.blip3_ocr import OcrSegment, parse_captions, parse_segments
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow

BOX = (0.192, 0.037, 0.817, 0.203)
LINES = [TextLine(text, (0.0,) * 8, BOX, 0.9) for text in ("MACK SHOP", "No. 7")]
FOUND = [Detection(label, label, BOX, 0.9) for label in ("dog", "cat")]
SIZES = {"width": pa.array([1000], pa.int32()), "height": pa.array([1000], pa.int32())}
PRESETS = [(family, name) for family in ("ocr", "grounding") for name in list_presets(family)]


def render_lines(name: str, lines: list[TextLine] = LINES) -> list[str]:
    ocr = pa.array([[line_to_arrow(line) for line in lines]], OCR_COLUMN.type)
    one = pa.array([""])
    columns = render_ocr_captions(ocr, one, one, None, "without", load_preset("ocr", name).template, SIZES)
    return [caption.text for caption in parse_captions(columns.captions[0].as_py())]


def render_things(name: str) -> list[str]:
    boxes = pa.array([list(map(detection_to_arrow, FOUND))], BOXES_COLUMN.type)
    template = load_preset("grounding", name).template
    columns = render_grounding_captions(boxes, pa.array(["A dog."]), None, None, None, "with", template)
    return [caption.text for caption in blip3_grounding.parse_captions(columns.captions[0].as_py())]


def test_the_presets() -> None:
    assert list_presets("ocr") == ["body", "deepseek-vl2", "figure", "internvl", "json-pixels", "qwen-vl", "upto"]
    assert list_presets("grounding") == ["body", "deepseek-vl2", "figure", "internvl", "qwen-vl", "up-to"]
    with pytest.raises(UsageError, match=r"^no template for ocr captions is named 'up-to': use body, .*or \./up-to"):
        load_preset("ocr", "up-to")


def test_the_default_is_the_figure() -> None:
    assert preview_captions(LINES) == preview_captions(LINES, template=load_preset("ocr", "figure").template)
    assert get_default("grounding") is load_preset("grounding", "figure").template


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("body", "The image contains MACK SHOP (<bbox> 0.192, 0.037, 0.817, 0.203 </bbox>), No"),
        ("qwen-vl", "<ref>MACK SHOP</ref><box>(192,37),(816,203)</box><ref>No"),
        ("internvl", "<ref>MACK SHOP</ref><box>[[192, 37, 816, 203]]</box>, <ref>No"),
        ("deepseek-vl2", "<|ref|>MACK SHOP<|/ref|><|det|>[[192, 37, 816, 203]]<|/det|>, <|ref|>No"),
        ("json-pixels", '[{"bbox_2d": [192, 37, 817, 203], "text_content": "MACK SHOP"}, {"bbox'),
    ],
)
def test_the_styles_of_other_families(name: str, first: str) -> None:
    (text,) = render_lines(name)
    assert text.startswith(first)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("body", "A dog (<bbox> 0.192, 0.037, 0.817, 0.203 </bbox>). The image contains cat (<bbox> 0.1"),
        ("qwen-vl", "A <ref>dog</ref><box>(192,37),(816,203)</box>. The image contains <ref>cat</ref><box>("),
        ("up-to", "A dog (above the center). The image contains cat (above the center)"),
    ],
)
def test_places_are_written_into_captions(name: str, text: str) -> None:
    assert render_things(name)[0].startswith(text)


@pytest.mark.parametrize(("family", "name"), PRESETS)
def test_every_preset_can_be_read_back(family: str, name: str) -> None:
    template = load_preset(family, name).template
    texts = dict(zip(template.granularities, (render_lines if family == "ocr" else render_things)(name), strict=True))
    for number, text in texts.items():
        invert(template, number)
        if family == "ocr":
            assert [item.text for item in read_items(template, number, text)] == ["MACK SHOP", "No. 7"]
        else:
            found = read_caption(template, number, text)
            assert (found.caption, len(found.mentions)) == ("A dog.", 1)
            assert [item.text for item in found.listed] == ["cat"]


@pytest.mark.parametrize("name", ["figure", "upto", "body"])
def test_our_reader_of_published_captions_reads_the_forms_of_the_paper(name: str) -> None:
    template = load_preset("ocr", name).template
    for number, text in zip(template.granularities, render_lines(name), strict=True):
        segments = parse_segments(text, number)
        assert [segment.text for segment in segments] == ["MACK SHOP", "No. 7"]
        if number in (4, 5):
            assert segments[0] == OcrSegment("MACK SHOP", box=BOX)


@pytest.mark.parametrize("name", ["figure", "up-to", "body"])
def test_our_reader_of_published_grounding_captions_reads_the_forms_of_the_paper(name: str) -> None:
    template = load_preset("grounding", name).template
    for number, text in zip(template.granularities, render_things(name), strict=True):
        found = blip3_grounding.parse_text(text, number)
        assert (found.caption, found.tail[0].name) == ("A dog.", "cat")
        assert [mention.end for mention in found.mentions] == [5]
        if number > 0:
            assert found.mentions[0].box == found.tail[0].box == BOX
