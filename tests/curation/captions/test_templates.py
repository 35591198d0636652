"""Templates are cut into atoms: every string that can stand between two texts, with the values of fields filled in."""

import numpy as np
import pyarrow as pa

from curation.captions.templates import compile_template, number_rows, render_template
from curation.format_strings import Format, parse_format

TABLES = {"x": ["1", "2"], "y": ["a", "b"]}


def parse(text: str) -> Format:
    return parse_format(text, ("text", "pixels", *TABLES))


def test_a_template_is_cut_into_atoms() -> None:
    """A literal belongs to the value after it, the last one to the value before it. Texts come after all atoms."""
    line = parse('"{{{text}" at {x}, {y}}}!')
    made = compile_template(line, TABLES, "First: ", "; ")
    assert made.columns == (("is_following", 0), ("text", 6), ("x", 2), ("y", 4))
    plain = ['First: "{', '; "{', '" at 1', '" at 2', ", a}!", ", b}!"]
    assert made.atoms.to_pylist() == [atom.replace('"', '\\"') for atom in plain]
    assert compile_template(line, TABLES, "First: ", "; ", is_json=True).atoms.to_pylist() == plain
    assert made.max_bytes == len('First: \\"{' + '\\" at 1' + ", a}!")


def test_what_ends_a_template_after_its_text_is_an_atom() -> None:
    made = compile_template(parse("<{text}> end"), {}, "", ", ")
    assert made.columns == (("is_following", 0), ("text", 3), ("constant", 2))
    assert made.atoms.to_pylist() == ["<", ", <", "> end"]


def test_fields_may_come_before_the_text() -> None:
    made = compile_template(parse("({x}, {y}): {text}"), TABLES, "A", "B")
    assert made.columns == (("is_following", 0), ("x", 2), ("y", 4), ("constant", 6), ("text", 7))
    assert made.atoms.to_pylist() == ["A(", "B(", "1", "2", ", a", ", b", "): "]


def test_what_ends_the_last_line_is_an_atom() -> None:
    made = compile_template(parse("{text} {x}."), TABLES, "", "", "\n")
    assert made.columns == (("is_following", 0), ("text", 6), ("x", 2), ("is_last", 4))
    assert made.atoms.to_pylist() == ["", "", " 1", " 2", ".", ".\\n"]


def test_lines_are_rendered_row_by_row() -> None:
    made = compile_template(parse("{text} {x}"), TABLES, "[", "; ", "]")
    offsets = np.asarray([0, 2, 2, 3])
    picks = number_rows(offsets) | {"x": np.asarray([1, 0, 1], np.int32)}
    texts = {"text": pa.array(["one", "two", "three"])}
    assert render_template(made, picks, texts, offsets).to_pylist() == ["[one 2; two 1]", "", "[three 2]"]
    nothing = {"text": texts["text"][:0]}
    assert render_template(made, picks, nothing, np.asarray([0, 0, 0])).to_pylist() == ["", ""]


def test_several_fields_have_texts_of_their_own() -> None:
    made = compile_template(parse("{pixels}: {text} {pixels}"), TABLES, "", ", ")
    assert made.texts == ("pixels", "text")
    offsets = np.asarray([0, 2])
    pixels = pa.array(["640", "7"])
    for printed in (pixels, pixels.dictionary_encode()):
        texts = {"text": pa.array(["one", "two"]), "pixels": printed}
        assert render_template(made, number_rows(offsets), texts, offsets).to_pylist() == ["640: one 640, 7: two 7"]


def test_rows_are_numbered() -> None:
    found = number_rows(np.asarray([0, 0, 1, 4]))
    assert {name: column.tolist() for name, column in found.items()} == {
        "is_following": [0, 0, 1, 1],
        "is_last": [1, 0, 0, 1],
    }
