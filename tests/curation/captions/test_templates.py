"""Templates are cut into atoms: every string that can stand between two texts, with the values of fields filled in."""

import numpy as np
import pyarrow as pa

from curation.captions.templates import compile_template, render_template

TABLES = {"x": ["1", "2"], "y": ["a", "b"]}


def test_a_template_is_cut_into_atoms() -> None:
    """A literal belongs to the value after it, the last one to the value before it. Texts come after all atoms."""
    made = compile_template('"{{{text}" at {x}, {y}}}!', TABLES, "First: ", "; ")
    assert made.columns == (("is_following", 0), ("text", 6), ("x", 2), ("y", 4))
    plain = ['First: "{', '; "{', '" at 1', '" at 2', ", a}!", ", b}!"]
    assert made.atoms.to_pylist() == [atom.replace('"', '\\"') for atom in plain]
    assert (
        compile_template('"{{{text}" at {x}, {y}}}!', TABLES, "First: ", "; ", is_json=True).atoms.to_pylist() == plain
    )


def test_what_ends_a_template_after_its_text_is_an_atom() -> None:
    made = compile_template("<{text}> end", {}, "", ", ")
    assert made.columns == (("is_following", 0), ("text", 3), ("end", 2))
    assert made.atoms.to_pylist() == ["<", ", <", "> end"]


def test_lines_are_rendered_row_by_row() -> None:
    made = compile_template("{text} {x}", TABLES, "[", "; ")
    following, numbers = np.asarray([0, 1, 0], np.int32), np.asarray([0, 1, 2], np.int32)
    picks = {"is_following": following, "text": numbers, "x": np.asarray([1, 0, 1], np.int32)}
    texts = pa.array(["one", "two", "three"])
    assert render_template(made, picks, texts, np.asarray([0, 2, 2, 3])).to_pylist() == [
        "[one 2; two 1",
        "",
        "[three 2",
    ]
    assert render_template(made, picks, texts[:0], np.asarray([0, 0, 0])).to_pylist() == ["", ""]
