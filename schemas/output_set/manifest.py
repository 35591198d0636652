"""The commit of one output: what went in, what came out, and the hash of every byte of it. Only a manifest counts."""

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
from schemas.masking import masked
from schemas.records.fingerprint import EngineFingerprint

HIDDEN_FILES = "hidden_files"  # among the counts, where there are any: files of other programs in the input's tars
MAX_OUTPUTS = 1_000_000  # of a unit, which has some thousand rows: all of them are looked for
MAX_SHOWN = 80  # characters of a field's name: an error is one line
FOLDERS = ("data", "index", "quarantine")
"""Sub-folders of a set in which a manifest's files lie."""


def _file_name(name: str) -> str:
    """Returns the name of an output. Raises `ValueError` for one that would lead out of a folder."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError("is no name of an output")
    return name


def _path_in_set(path: str) -> str:
    """Returns the path of an output file. Raises `ValueError` for one that leads anywhere but into `FOLDERS`."""
    folder, *names = path.split("/")
    if folder not in FOLDERS or not names or "\0" in path or any(name in ("", ".", "..") for name in names):
        raise ValueError(f"leads out of the set: its files lie in {', '.join(FOLDERS[:-1])} and {FOLDERS[-1]}")
    return path


class InputFile(BaseModel):
    """An input as it was read. The path holds no URL's password or query: many may read a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(masked)]
    size: NonNegativeInt  # bytes
    sha256: str


class OutputFile(BaseModel):
    """An output file, by its name in the output folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_path_in_set)]
    rows: NonNegativeInt
    size: NonNegativeInt  # bytes
    sha256: str


class Manifest(BaseModel):
    """Everything about one output that does not differ between two runs of the same recipe over the same input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    name: Annotated[str, AfterValidator(_file_name)]
    recipe_sha256: str
    inputs: list[InputFile]
    rows_in: NonNegativeInt
    rows_out: NonNegativeInt
    reasons: dict[str, int]  # rows quarantined, by reason
    counts: dict[str, int] = {}  # more that is worth adding up over outputs: text lines, captions, empty alt texts
    outputs: list[OutputFile]
    fingerprints: dict[str, EngineFingerprint] = Field(  # of engines, tokenizers and all else that was not in `inputs`
        {},
        validation_alias=AliasChoices("fingerprints", "engines"),  # the latter in manifests of before
    )
    retried: dict[str, int] = {}  # rows that earlier outputs have left out, by their reason there: they count here now
    damage: list[str] = []  # of the input: what could not be read, and where
    # in the first of several outputs of one unit: how many these are, so that a lost one is missed; else not written
    unit_outputs: PositiveInt = Field(1, le=MAX_OUTPUTS, exclude_if=lambda outputs: outputs == 1)

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
    ) -> Self:
        """The manifest of an output with the file `data` (None: it has no rows) and `others` beside it.

        `reasons` are those of the quarantined rows, one a row or counted. Raises `ShardloomError` when `rows_in` are
        not those of `data` and of `reasons`.
        """
        return cls(
            name=name,
            recipe_sha256=recipe_sha256,
            inputs=list(inputs),
            rows_in=rows_in,
            rows_out=0 if data is None else data.rows,
            reasons=dict(sorted(Counter(reasons).items())),
            counts=dict(counts or {}),
            outputs=[*([] if data is None else [data]), *others],
            fingerprints=dict(fingerprints or {}),
            damage=list(damage),
            retried=dict(sorted((retried or {}).items())),
        )

    def model_post_init(self, context: Any) -> None:
        """Raises when rows are not accounted for: nothing may be lost in silence."""
        quarantined = sum(self.reasons.values())
        if self.rows_in != self.rows_out + quarantined:
            raise ShardloomError(
                f"{self.name}: {self.rows_in} rows in, but {self.rows_out} out and {quarantined} quarantined"
            )

    def to_json(self) -> bytes:
        """The file's bytes: sealed, so that a change of any byte is found."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Reads the file; raises `ValueError` when it is not what was written."""
        try:
            return cls.model_validate(unseal(data))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            field = ".".join(map(str, fault["loc"]))[:MAX_SHOWN]
            raise ValueError(f"{field}: {fault['msg'].removeprefix('Value error, ')}") from None


def seal(values: dict[str, Any]) -> bytes:
    """JSON with a last field that holds the hash of all the others."""
    digest = hashlib.sha256(_canonical(values)).hexdigest()
    return json.dumps(values | {"seal": digest}, indent=1, ensure_ascii=False).encode() + b"\n"


def unseal(data: bytes) -> dict[str, Any]:
    """The fields of sealed JSON; raises `ValueError` when the seal is broken."""
    try:
        values = json.loads(data)
    except RecursionError:
        raise ValueError("lists within lists without end") from None
    if not isinstance(values, dict) or "seal" not in values:
        raise ValueError("no sealed JSON")
    expected = values.pop("seal")
    if hashlib.sha256(_canonical(values)).hexdigest() != expected or seal(values) != data:
        raise ValueError("the seal is broken")
    return values


def _canonical(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, ensure_ascii=False).encode()
