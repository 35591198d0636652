"""Compiles templates to Arrow kernels, which render the captions of a whole column without Python code for each row.

Each template is cut once into atoms: all strings that can stand between two texts, with numbers and words filled in.
Rendering looks up the atom for each place and gathers them in one pass (`pyarrow.compute.take`). The atoms are JSON
already, so nothing is escaped row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.captions.atoms import Index, escape_json


@dataclass(frozen=True, slots=True)
class Template:
    """Holds a template cut into atoms. A rendered line is one atom from each column, in the columns' order."""

    atoms: pa.StringArray
    columns: tuple[tuple[str, int], ...]
    """The field that picks the atom, and the index at which the field's atoms start. Texts come after all atoms."""


def compile_template(
    template: str, tables: Mapping[str, Sequence[str]], first: str, following: str, *, is_json: bool = False
) -> Template:
    """Cuts a template for lists of lines, of which the first begins with `first` and every other one with `following`.

    `tables` hold all values that each field can take, except for `text`, which comes first in the template.
    """
    literal = ""
    columns: list[tuple[str, list[str]]] = [("is_following", [first, following])]
    for before, field, _, _ in Formatter().parse(template):
        literal += before
        if field == "text":
            columns = [("is_following", [lead + literal for lead in (first, following)]), ("text", [])]
        elif field:
            columns.append((field, [literal + value for value in tables[field]]))
        literal = "" if field else literal
    if columns[-1][0] == "text":
        columns.append(("end", [literal]))
    else:
        columns[-1] = (columns[-1][0], [value + literal for value in columns[-1][1]])
    atoms: list[str] = []
    starts: list[tuple[str, int]] = []
    for field, values in columns:
        starts.append((field, len(atoms)))
        atoms += values
    starts[1] = ("text", len(atoms))
    return Template(pa.array(atoms if is_json else map(escape_json, atoms), pa.string()), tuple(starts))


def render_template(
    template: Template, picks: Mapping[str, Index], texts: pa.StringArray, offsets: NDArray[np.int64]
) -> pa.StringArray:
    """Renders lines of text, JSON-escaped. A row consists of the lines between two offsets and is empty without any.

    `picks` give for each field the index of each line's entry in the field's table.
    """
    if not len(texts):
        return pa.array([""] * (len(offsets) - 1), pa.string())
    atom = np.empty((len(texts), len(template.columns)), np.int32)
    for number, (field, start) in enumerate(template.columns):
        np.add(picks[field], start, out=atom[:, number])
    # The indices are within bounds by construction, and checking them costs a tenth of the time.
    gathered = pc.take(pa.concat_arrays([template.atoms, texts]), pa.array(atom.ravel()), boundscheck=False)
    _, ends, characters = gathered.buffers()
    # A row's atoms are adjacent, so its string exists already: only the offsets between its atoms are dropped.
    row_offsets = np.frombuffer(ends, np.int32)[offsets * len(template.columns)]
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(row_offsets), characters)
