import pytest

from curation.format_strings import MAX_CHARACTERS, MAX_FIELDS, Piece, parse_format

BRACES = "only the name of a field can stand in braces; write {{ and }} for braces"


def test_a_format_string_is_cut_at_its_fields() -> None:
    assert parse_format("<{text}> at {x1}", ("text", "x1")) == (Piece("<", "text"), Piece("> at ", "x1"), Piece("", ""))
    assert parse_format("", ()) == (Piece("", ""),)


def test_two_braces_stand_for_one() -> None:
    assert parse_format('{{"box": {{{x1}}}}}', ("x1",)) == (Piece('{"box": {', "x1"), Piece("}}", ""))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "{text.__class__}",
            "{text.__class__}: " + BRACES,
        ),
        ("{text[0]}", "{text[0]}: " + BRACES),
        ("{text!r}", "{text!r}: " + BRACES),
        ("{text:>9}", "{text:>9}: " + BRACES),
        ("{}", "{}: " + BRACES),
        ("{\n\x1b}", "{\\n\\x1b}: " + BRACES),
        ("{" + "y" * 99 + "}", "unknown field {" + "y" * 40 + "...}: use one of text, x1"),
        ("{y}", "unknown field {y}: use one of text, x1"),
        ("{text", "the brace at character 1 has no partner: write {{ for a brace"),
        ("a}", "the brace at character 2 has no partner: write }} for a brace"),
        ("{text:{x1}}", "the brace at character 1 has no partner: write {{ for a brace"),
        ("\ud800", "it has half of a surrogate pair, which no file of captions can hold"),
        ("a" * (MAX_CHARACTERS + 1), "it has 1,001 characters; at most 1,000 are taken"),
        ("{x1}" * (MAX_FIELDS + 1), "it has 33 fields; at most 32 are taken"),
    ],
)
def test_nothing_but_fields_stands_in_braces(text: str, fault: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        parse_format(text, ("text", "x1"))
    assert str(refused.value) == fault


def test_a_text_without_fields_takes_none() -> None:
    with pytest.raises(ValueError, match=r"^it takes no fields, but has \{text\}: write \{\{ and \}\} for braces$"):
        parse_format("{text}", ())
