"""Compiles templates to Arrow kernels, which render the captions of a whole column without Python code for each row.

Each template is cut once into atoms: all strings that can stand between two texts, with numbers and words filled in.
Rendering looks up the atom for each place and gathers them in one pass (`pyarrow.compute.take`). The atoms are JSON
already, so nothing is escaped row by row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.captions.atoms import Index, escape_json
from curation.format_strings import Format

FOLLOWING, LAST = "is_following", "is_last"
"""Columns of picks: 1 for every line but a row's first, and for a row's last line."""


@dataclass(frozen=True, slots=True)
class Template:
    """Holds a template cut into atoms. A rendered line is one atom from each column, in the columns' order."""

    atoms: pa.StringArray
    columns: tuple[tuple[str, int], ...]
    """The field that picks the atom, and the index at which the field's atoms start. Texts come after all atoms."""
    texts: tuple[str, ...]
    """The fields that have a text of their own for each line, in the order of their texts."""
    max_bytes: int
    """The most bytes that a line has beside its texts."""


def compile_template(
    line: Format,
    tables: Mapping[str, Sequence[str]],
    first: str,
    following: str,
    last: str = "",
    *,
    is_json: bool = False,
) -> Template:
    """Cuts a template for lists of lines, of which the first begins with `first` and every other one with `following`.

    `last` ends the last line. `tables` hold all values that each field can take, except for those that have a text of
    their own for each line.
    """
    columns: list[tuple[str, list[str]]] = []
    literal = line[0].literal
    leads = [first + literal, following + literal]
    for place, piece in enumerate(line[:-1]):
        values = tables.get(piece.field)
        if place == 0:
            columns, literal = [(FOLLOWING, leads)], ""
        if values is None and literal:
            columns.append(("constant", [literal]))
        columns.append((piece.field, [literal + value for value in values or ()]))
        literal = line[place + 1].literal
    if last:
        columns.append((LAST, [literal, literal + last]))
    elif literal and columns[-1][0] in tables:
        columns[-1] = (columns[-1][0], [value + literal for value in columns[-1][1]])
    elif literal:
        columns.append(("constant", [literal]))
    return _number_atoms(columns, is_json=is_json)


def _number_atoms(columns: Sequence[tuple[str, list[str]]], *, is_json: bool) -> Template:
    columns = [(field, values if is_json else list(map(escape_json, values))) for field, values in columns]
    atoms = [value for _, values in columns for value in values]
    starts: list[tuple[str, int]] = []
    start = 0
    for field, values in columns:
        starts.append((field, start if values else len(atoms)))
        start += len(values)
    texts = tuple(dict.fromkeys(field for field, values in columns if not values))
    max_bytes = sum(max(len(value.encode()) for value in values) for _, values in columns if values)
    return Template(pa.array(atoms, pa.string()), tuple(starts), texts, max_bytes)


def render_template(
    template: Template,
    picks: Mapping[str, Index],
    texts: Mapping[str, pa.StringArray | pa.DictionaryArray],
    offsets: NDArray[np.int64],
) -> pa.StringArray:
    """Renders lines of text, JSON-escaped. A row consists of the lines between two offsets and is empty without any.

    `picks` give for each field the index of each line's entry in the field's table, and `texts` each line's text for
    the other fields; where many lines share a text, as a `DictionaryArray`.
    """
    lines = len(next(iter(texts.values())))
    if not lines:
        return pa.array([""] * (len(offsets) - 1), pa.string())
    source, indices = [template.atoms], dict(picks)
    starts = {}
    for field in template.texts:
        text = texts[field]
        starts[field] = sum(map(len, source))
        is_shared = isinstance(text, pa.DictionaryArray)
        source.append(text.dictionary if is_shared else text)
        indices[field] = text.indices.to_numpy() if is_shared else np.arange(lines, dtype=np.int32)
    atom = np.empty((lines, len(template.columns)), np.int32)
    for place, (field, start) in enumerate(template.columns):
        if field in starts:
            np.add(indices[field], starts[field], out=atom[:, place])
        elif field == "constant":
            atom[:, place] = start
        else:
            np.add(picks[field], start, out=atom[:, place])
    # The indices are within bounds by construction, and checking them costs a tenth of the time.
    gathered = pc.take(pa.concat_arrays(source), pa.array(atom.ravel()), boundscheck=False)
    _, ends, characters = gathered.buffers()
    # A row's atoms are adjacent, so its string exists already: only the offsets between its atoms are dropped.
    row_offsets = np.frombuffer(ends, np.int32)[offsets * len(template.columns)]
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(row_offsets), characters)


def number_rows(offsets: NDArray[np.int64]) -> dict[str, Index]:
    """Returns the picks that say which lines follow another one in their row, and which are the last."""
    lines, has_lines = int(offsets[-1]), np.diff(offsets) > 0
    following, last = np.ones(lines, np.int32), np.zeros(lines, np.int32)
    following[offsets[:-1][has_lines]] = 0
    last[offsets[1:][has_lines] - 1] = 1
    return {FOLLOWING: following, LAST: last}
