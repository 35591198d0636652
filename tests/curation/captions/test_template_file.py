"""A template file is checked before any work: a wrong one is refused in one line that says where it is wrong."""

import hashlib
import re

import pytest

from curation.captions.template_file import MAX_BYTES, check_granularities, is_preset_name, load_template
from curation.format_strings import Piece
from schemas.errors import UsageError

GOOD = """\
family: ocr
lead_in: 'Text: '
separator: ' | '
tail: '.'
granularities:
  5: '{text}: {x1}'
  0: '"{text}" {{'
"""
ITEM = "family: ocr\ngranularities: {0: %s}"
NAMES = "text, position, down, across, x1, y1, x2, y2, x1_tenths, y1_tenths, x2_tenths, y2_tenths, x1_999, y1_999, "
NAMES += (
    "x2_999, y2_999, x1_3digits, y1_3digits, x2_3digits, y2_3digits, x1_pixels, y1_pixels, x2_pixels, y2_pixels, score"
)
BRACES = "only the name of a field can stand in braces; write {{ and }} for braces"


def test_a_template_is_parsed() -> None:
    loaded = load_template(GOOD.encode(), "own.yaml", "ocr")
    template = loaded.template
    assert (loaded.text, loaded.sha256) == (GOOD, hashlib.sha256(GOOD.encode()).hexdigest())
    assert (template.family, template.lead_in, template.separator, template.tail) == ("ocr", "Text: ", " | ", ".")
    assert template.granularities == (0, 5)
    assert template.get_item(0) == (Piece('"', "text"), Piece('" {', ""))
    assert template.split_item(5) == ((Piece("", ""),), (Piece(": ", "x1"), Piece("", "")))


WRONG = [
    (b"\xff", " is not valid YAML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    (b"family: [", " is not valid YAML: while parsing a flow node expected the node content, but found "
        "'<stream end>' in \"<unicode string>\", line 1, column 10: family: [ ^"),
    (b"", " is not a mapping: it needs the keys family and granularities"),
    (b"- ocr", " is not a mapping: it needs the keys family and granularities"),
    (b"a" * (MAX_BYTES + 1), " has more than 65,536 bytes"),
    (b"family: &a ocr\ntail: *a", ", line 2: aliases (*name) are not allowed: write the value out"),
    (b"family: ocr\nfamily: ocr", ", line 2: the key 'family' occurs twice: remove one of them"),
    (b"granularities: {0: '{text}'}", ": family: field required"),
    (b"family: ocr", ": granularities: field required"),
    (b"family: ocr\ngranularities: {}", ": granularities is empty"),
    (b"family: ocr\ngranularities: '{text}'", ": granularities: input should be a mapping, not '{text}'"),
    (b"family: ocr\nleadin: a\ngranularities: {0: '{text}'}", ": unknown key leadin"),
    (b"family: tags\ngranularities: {0: a}", ": family: input should be 'ocr' or 'grounding', not 'tags'"),
    (b"family: grounding\ngranularities: {0: '{label}'}", " is for grounding captions, not for ocr"),
    (b"family: ocr\ngranularities: {6: '{text}'}",
     ": granularities.6: ocr captions have the granularities 0 to 5"),
    (ITEM % "[a]", ": granularities.0: input should be a valid string, not ['a']"),
    (ITEM % "'at {x1}'", ": granularities.0: 'at {x1}' lacks {text}: an item has it once"),
    (ITEM % "'{text} {text}'", ": granularities.0: '{text} {text}' has {text} 2 times: an item has it once"),
    (ITEM % "'{label}'", f": granularities.0: unknown field {{label}}: use one of {NAMES}"),
    (ITEM % "'{text} {x3}'", f": granularities.0: unknown field {{x3}}: use one of {NAMES}"),
    (ITEM % "'{text.__init__.__globals__}'",
     f": granularities.0: {{text.__init__.__globals__}}: {BRACES}"),
    (ITEM % "'{text:>1000000000}'", f": granularities.0: {{text:>1000000000}}: {BRACES}"),
    (ITEM % "'{text!r}'", f": granularities.0: {{text!r}}: {BRACES}"),
    (ITEM % "'{text'", ": granularities.0: the brace at character 1 has no partner: write {{ for a brace"),
    (ITEM % "'{text}}'", ": granularities.0: the brace at character 7 has no partner: write }} for a brace"),
    (ITEM % '"\\uD800{text}"',
     ": granularities.0: it has half of a surrogate pair, which no file of captions can hold"),
    (ITEM % ("'{text}" + "a" * 1000 + "'"),
     ": granularities.0: it has 1,006 characters; at most 1,000 are taken"),
    (b"family: ocr\nlead_in: '{text}'\ngranularities: {0: '{text}'}",
     ": lead_in: it takes no fields, but has {text}: write {{ and }} for braces"),
    (b"family: ocr\ntail: '}'\ngranularities: {0: '{text}'}",
     ": tail: the brace at character 1 has no partner: write }} for a brace"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "fault"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_template_is_refused_in_one_line(content: bytes | str, fault: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_template(content if isinstance(content, bytes) else content.encode(), "own.yaml", "ocr")
    assert str(refused.value) == f"template own.yaml{fault}"
    assert "\n" not in fault


def test_granularities_without_a_wording_are_refused() -> None:
    template = load_template(GOOD.encode(), "own.yaml", "ocr").template
    check_granularities(template, [5, 0], "own.yaml")
    fault = "granularities: template own.yaml has 0, 5 and not 1, 4"
    with pytest.raises(UsageError, match=f"^{re.escape(fault)}$"):
        check_granularities(template, [4, 0, 1], "own.yaml")


def test_names_of_presets_are_no_paths() -> None:
    assert [is_preset_name(name) for name in ("qwen-vl", "a.yaml", "./a", "s3://a/b", "")] == [True, *[False] * 4]
