"""Defines the commit of one output: its inputs, its row counts, and the hash of every file. Only a manifest counts."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)

from schemas.errors import ShardloomError
from schemas.masking import mask_secrets
from schemas.output_set.image_folders import ImageFolder
from schemas.records.fingerprint import EngineFingerprint

HIDDEN_FILES = "hidden_files"  # a key of `counts`: files of other programs in the input's tars, if there are any
UNREADABLE_METADATA = "unreadable_metadata"  # another: samples kept without ids, whose .json is not an object, if any
MAX_OUTPUTS = 1_000_000  # limit per unit; a unit has a few thousand rows, and each of its outputs is looked up
MAX_SHOWN = 80  # characters of a field's name: an error is one line
FOLDERS = ("data", "index", "quarantine")
"""The sub-folders of a set that contain a manifest's files."""


def _check_file_name(name: str) -> str:
    """Returns the name of an output. Raises `ValueError` for a name that leads out of its folder."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError("is not a name of an output")
    return name


def _check_path(path: str) -> str:
    """Returns the path of an output file. Raises `ValueError` for a path outside `FOLDERS`."""
    folder, *names = path.split("/")
    if folder not in FOLDERS or not names or "\0" in path or any(name in ("", ".", "..") for name in names):
        raise ValueError(f"leads out of the set: its files are in {', '.join(FOLDERS[:-1])} and {FOLDERS[-1]}")
    return path


class InputFile(BaseModel):
    """Describes an input file as it was read. The path has no URL's password or query: many may read a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(mask_secrets)]
    size: NonNegativeInt  # bytes
    sha256: str


class OutputFile(BaseModel):
    """Describes an output file. `path` is relative to the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_check_path)]
    rows: NonNegativeInt
    size: NonNegativeInt  # bytes
    sha256: str


class Manifest(BaseModel):
    """Holds all facts about one output that two runs of the same recipe over the same input share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: Annotated[str, AfterValidator(_check_file_name)]
    recipe_sha256: str
    inputs: list[InputFile]
    rows_in: NonNegativeInt
    rows_out: NonNegativeInt
    reasons: dict[str, NonNegativeInt]  # rows quarantined, by reason
    # rows that the recipe does not choose, by its option: `limit`, `sample` or `where`; otherwise not written
    left_out: dict[str, NonNegativeInt] = Field({}, exclude_if=lambda left_out: not left_out)
    counts: dict[str, NonNegativeInt] = {}  # other counts to add up over outputs: text lines, captions, empty alt texts
    outputs: list[OutputFile]
    fingerprints: dict[str, EngineFingerprint] = Field(  # of engines, tokenizers and anything else not in `inputs`
        {},
        validation_alias=AliasChoices("fingerprints", "engines"),  # the old name in old manifests
    )
    retried: dict[str, NonNegativeInt] = {}  # rows that earlier outputs quarantined, by reason; they count here now
    damage: list[str] = []  # parts of the input that could not be read, and where
    # Runs that have worked on the output: `shardloom retry` adds one. Written from the second on.
    attempts: PositiveInt = Field(1, exclude_if=lambda attempts: attempts == 1)
    # The first of several outputs of a unit stores their number, so that a lost one is noticed; otherwise not written.
    unit_outputs: PositiveInt = Field(1, le=MAX_OUTPUTS, exclude_if=lambda outputs: outputs == 1)
    # of the tars that the index refers to; otherwise not written
    image_folders: list[ImageFolder] = Field([], exclude_if=lambda folders: not folders)

    @classmethod
    def build(
        cls,
        name: str,
        recipe_sha256: str,
        *,
        inputs: Sequence[InputFile],
        rows_in: int,
        data: OutputFile | None,
        others: Sequence[OutputFile],
        reasons: Iterable[str] | Mapping[str, int] = (),
        counts: Mapping[str, int] | None = None,
        fingerprints: Mapping[str, EngineFingerprint] | None = None,
        damage: Sequence[str] = (),
        retried: Mapping[str, int] | None = None,
        image_folders: Sequence[ImageFolder] = (),
        left_out: Mapping[str, int] | None = None,
    ) -> Self:
        """Builds the manifest of an output with the file `data` (None if it has no rows) and the files `others`.

        `reasons` are the reasons of the quarantined rows, one per row or counted. Raises `ShardloomError` if `rows_in`
        is not the number of rows in `data` plus those quarantined and those left out by the recipe.
        """
        return cls(
            name=name,
            recipe_sha256=recipe_sha256,
            inputs=list(inputs),
            rows_in=rows_in,
            rows_out=0 if data is None else data.rows,
            reasons=dict(sorted(Counter(reasons).items())),
            left_out=dict(left_out or {}),
            counts=dict(counts or {}),
            outputs=[*([] if data is None else [data]), *others],
            fingerprints=dict(fingerprints or {}),
            damage=list(damage),
            retried=dict(sorted((retried or {}).items())),
            image_folders=list(image_folders),
        )

    def model_post_init(self, context: Any) -> None:
        """Raises `ShardloomError` if rows are unaccounted for: nothing may be lost silently."""
        quarantined, left_out = sum(self.reasons.values()), sum(self.left_out.values())
        if self.rows_in != self.rows_out + quarantined + left_out:
            parts = [f"{self.rows_out} out", f"{quarantined} quarantined"] + [f"{left_out} left out"] * bool(left_out)
            raise ShardloomError(f"{self.name}: {self.rows_in} rows in, but {' and '.join(parts)}")

    @property
    def rows_chosen(self) -> int:
        """Returns the number of rows that the recipe chooses."""
        return self.rows_in - sum(self.left_out.values())

    def to_json(self) -> bytes:
        """Returns the file's bytes, sealed so that a change of any byte is detected."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parses the file. Raises `ValueError` if it differs from what was written, or leaves rows unaccounted for."""
        try:
            return cls.model_validate(unseal(data))
        except ShardloomError as error:
            raise ValueError(str(error)) from None
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            field = ".".join(map(str, fault["loc"]))[:MAX_SHOWN]
            raise ValueError(f"{field}: {fault['msg'].removeprefix('Value error, ')}") from None


def seal(values: dict[str, Any]) -> bytes:
    """Returns JSON whose last field is the sha256 of all the others."""
    digest = hashlib.sha256(_to_canonical_json(values)).hexdigest()
    return json.dumps(values | {"seal": digest}, indent=1, ensure_ascii=False).encode() + b"\n"


def unseal(data: bytes) -> dict[str, Any]:
    """Returns the fields of sealed JSON. Raises `ValueError` if the seal does not match."""
    try:
        values = json.loads(data)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(values, dict) or "seal" not in values:
        raise ValueError("it is not sealed JSON")
    expected = values.pop("seal")
    if hashlib.sha256(_to_canonical_json(values)).hexdigest() != expected or seal(values) != data:
        raise ValueError("the seal is broken")
    return values


def _to_canonical_json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode()
