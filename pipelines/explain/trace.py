"""Holds what is found on the way from a set back to its source, one set after another."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.template_file import CaptionTemplate
from pipelines.explain.inputs import SetInputs
from pipelines.explain.origin import CaptionText, ImageBytes, Step
from pipelines.view.options import ViewOptions
from pipelines.view.rows import choose_rows
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.manifest import InputFile
from schemas.records.caption import Caption
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import split_path
from schemas.tar.reader import TarReader

ROW_NUMBER = "row number"  # a column that is added to a file's rows; no layout has a name with a space


@dataclass(slots=True)
class Trace:
    """Holds the way back so far, and what explains the captions."""

    inputs: SetInputs
    steps: list[Step] = field(default_factory=list)
    engines: dict[str, EngineFingerprint] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    image: bytes | None = None
    annotations: dict[str, Any] | None = None
    """The row of the annotation set, once the way has led there."""
    size: tuple[int, int] | None = None
    """Of the upright image, in pixels."""
    captions: list[Caption] = field(default_factory=list)
    """The rendered captions, with the `metadata` of their row and the template that made them."""
    metadata: str = ""
    template: CaptionTemplate | None = None
    texts: list[CaptionText] = field(default_factory=list)
    """Other texts: those of a document, or the text to train on."""

    def add_captions(self, captions: Sequence[Caption], metadata: str) -> None:
        """Takes the captions of a row, unless a row before it had some."""
        if not self.captions:
            self.captions, self.metadata = list(captions), metadata


@dataclass(frozen=True, slots=True)
class FoundRow:
    """Holds a row of a set."""

    name: str  # of its output
    number: int  # in the output's file, from 0
    table: pa.Table  # of this row alone, with the metadata of its file

    @property
    def row(self) -> dict[str, Any]:
        """Returns the row as a dict."""
        return self.table.drop_columns([ROW_NUMBER]).to_pylist()[0]  # type: ignore[no-any-return]


def find_row(
    names: Sequence[str], load: Callable[[str], pa.Table], key: str, place: str, name: str | None = None
) -> FoundRow:
    """Returns the row with this key, uid or SHARD/KEY; if its file `name` is known, that with the key in it.

    `load` reads a file, and `place` names the set. Raises `UsageError` if there is no such row.
    """

    def load_numbered(name: str) -> pa.Table:
        table = load(name)
        return table.append_column(ROW_NUMBER, pa.array(range(table.num_rows), pa.int64()))

    if name is None:
        (part,) = choose_rows(names, load_numbered, ViewOptions(key=key), place).parts
        name, rows = part.name, part.rows
    else:
        rows = load_numbered(name) if name in names else pa.table({"key": pa.array([], pa.string())})
        rows = rows.filter(pc.equal(rows["key"], key))
    if not rows.num_rows:
        raise UsageError(f"{place} has no row with the key {key!r} in {name}")
    return FoundRow(name, rows[ROW_NUMBER][0].as_py(), rows.slice(0, 1))


def require_same(recorded: InputFile | None, sha256: str | None, name: str, place: str, made: str) -> None:
    """Raises `UsageError` where an input is not the one that the set at `made` was made from."""
    if recorded is None or recorded.sha256 != sha256:
        raise UsageError(
            f"the {name} in {place} have changed since {made} was made from them: pass --set {name}=FOLDER with those "
            "that it was made from"
        )


def find_member(path: str, key: str, sha256: str) -> tuple[ImageBytes, bytes]:
    """Finds the image of a sample in a tar by its hash. Raises `ShardloomError` if it is not there any more."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        sample = next((one for one in TarReader(file, hashing=False) if one.key == key), None)
    for member in sample.members.values() if sample is not None else ():
        if hashlib.sha256(member.data).hexdigest() == sha256:
            return ImageBytes(path, member.name, member.offset, len(member.data), sha256), member.data
    raise ShardloomError(
        f"{path} has no image of {key} with the sha256 {sha256} now: pass --images with the shards that the set was "
        "made from"
    )
