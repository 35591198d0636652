"""Which templates can be inverted, why others cannot, and what inverting changes in texts."""

import pytest

from curation.captions.inversion import NotInvertible, find_inversion, invert
from curation.captions.template_file import CaptionTemplate, load_template
from schemas.layouts.blip3_grounding import escape_listed, escape_marked
from schemas.layouts.blip3_ocr import escape_quoted, escape_tagged

LISTED = "lead_in: 'The image contains '\n"


def make(family: str, item: str, more: str = "") -> CaptionTemplate:
    content = f"family: {family}\n{more}granularities:\n  1: {item!r}\n"
    return load_template(content.encode(), "test", family).template


@pytest.mark.parametrize(
    ("item", "text", "escaped"),
    [
        ('"{text}" {x1}', 'a "b\\c"', 'a \\"b\\\\c\\"'),
        ("<t>{text}</t>{x1}", "</t> <t> <b> &lt;/t> </ocr>", "&lt;/t> &lt;t> <b> &amp;lt;/t> &lt;/ocr>"),
        ("{text} ({x1})", "(0.5) (0.50) (half) &#40;0.5)", "&#40;0.5) &#40;0.50) (half) &amp;#40;0.5)"),
        ("{text}<loc_{x1_999}><loc_{y1_999}>", "<loc_12> <loc>", "&lt;loc_12> <loc>"),
        ("{text} [{x1} {y1}]", "[0.5 0.5] [0.5 ]", "&#91;0.5 0.5] [0.5 ]"),
        ("{text} ({position}) ({x1})", "(in the center) (0.5)", "&#40;in the center) (0.5)"),
    ],
)
def test_only_what_could_end_a_text_is_escaped(item: str, text: str, escaped: str) -> None:
    found = invert(make("ocr", item), 1)
    assert found.escape(text) == escaped
    assert found.unescape(escaped) == text


@pytest.mark.parametrize(
    ("item", "more", "reason"),
    [
        ("{text}", "", "no quote, tag or other character followed by a field ends the text"),
        ("{text};", "", "no quote, tag or other character followed by a field ends the text"),
        ("{text} {x1}", "", "no quote, tag or other character followed by a field ends the text"),
        ("{text}{x1}", "", "nothing separates {text} from what follows it"),
        ('"{text}" {x1}{y1}', "", "nothing separates {x1} from what follows it"),
        ('"{text}" {x1}0', "", "{x1} is followed by '0', which could belong to it"),
        ('"{text}" {down}/{across}', "", "{down} is followed by '/', which could belong to it"),
        ('{x1} "{text}" {x2}', "separator: ''\n", "nothing separates {x2} from what follows it"),
        ('"{text}" {x1}', "separator: '1 '\n", "{x1} is followed by '1', which could belong to it"),
        ('"{text}" {x1}', "tail: '0'\n", "{x1} is followed by '0', which could belong to it"),
        ("{text} located {position}", "", "'l', which ends the text, is also printed by a field after it"),
        ("{text} & {x1}", "", "'&', which ends the text, is also printed by a field after it"),
        ("{text} ((({x1})))", "", "'(', which ends the text, comes again before a field"),
        ("{text} (& {x1})", "", "an & follows the text, and entities begin with it"),
    ],
)
def test_why_ocr_captions_cannot_be_read_back(item: str, more: str, reason: str) -> None:
    template = make("ocr", item, more)
    with pytest.raises(NotInvertible) as refused:
        invert(template, 1)
    assert str(refused.value) == reason
    assert find_inversion(template, 1) is None


@pytest.mark.parametrize(
    ("item", "more", "reason"),
    [
        ("{label} ({position})", "", "no lead-in tells the list of things from the caption before it"),
        ("a {label} ({position})", LISTED, "something other than a tag is written before the label"),
        ('"{label}" ({position})', LISTED, "something other than a tag is written before the label"),
        ("the <b>{label}</b>", LISTED, "no tag begins an item whose text ends with a tag"),
        ("{label} ({position})", "lead_in: 'in: '\n",
         "the lead-in's first character, 'i', is also in what the template writes after it"),
        ("{label} ({position})", "lead_in: 'All ('\n",
         "the lead-in's first character, 'A', is also in what the template writes after it"),
        ("{label} ({position})", "lead_in: 'THAT'\n",
         "the lead-in's first character, 'T', is also in what the template writes after it"),
        ("{label} ({position})", "lead_in: '; '\nseparator: '; '\n",
         "the lead-in's first character, ';', is also in what the template writes after it"),
    ],
)  # fmt: skip
def test_why_grounding_captions_cannot_be_read_back(item: str, more: str, reason: str) -> None:
    with pytest.raises(NotInvertible) as refused:
        invert(make("grounding", item, more), 1)
    assert str(refused.value) == reason


TEXTS = ["dog", "(in the center)", "(starts at [0.1, 0.2] and extends up to (0.3, 0.4))", "</ocr> <object>", 'a "b\\']
TEXTS += ["&#40;in the center)", "&lt;/bbox>", "The image contains (", "&#84;he image contains", "(top of the image)"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_built_in_templates_escape_as_the_published_layouts_do(text: str) -> None:
    from curation.captions.presets import get_default

    ocr, grounding = get_default("ocr"), get_default("grounding")
    for number in ocr.granularities:
        assert invert(ocr, number).escape(text) == (escape_tagged if number == 5 else escape_quoted)(text)
    for number in grounding.granularities:
        assert invert(grounding, number).escape(text) == escape_marked(text, number)
        assert invert(grounding, number).escape_listed(text) == escape_listed(text, number)
