"""Captions of other data sets (KALE's, the released grounding set's own) to put places into: looked up by uid."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from schemas.errors import ShardloomError, UsageError, one_line
from schemas.output_set.manifest import InputFile
from schemas.storage.folder import split
from schemas.storage.matching import matching
from schemas.storage.parquet import NoParquet, check_sizes, open_parquet, parquet_schema

COLUMNS = ("caption", "cogvlm_caption")
"""Where a caption is looked for when the recipe doesn't say: KALE's column, then the released grounding set's."""


@dataclass(frozen=True, slots=True)
class BaseCaptions:
    """Parquet files with a uid and a caption in each row. Of several captions of one uid the first counts."""

    files: tuple[str, ...]
    column: str
    revision: InputFile
    """Tells two states of the files apart by their sizes: hashing some hundred gigabytes would take longer than
    rendering."""

    @classmethod
    def open(cls, pattern: str, column: str | None) -> Self:
        """Raises `UsageError` when no file matches, or one has not the columns."""
        files = matching(pattern)
        names = [schema_of(file) for file in files]
        columns = COLUMNS if column is None else (column,)
        chosen = next((name for name in columns if name in names[0]), None)
        lacking = next((file for file, has in zip(files, names, strict=True) if not {"uid", chosen} <= set(has)), None)
        if chosen is None or lacking is not None:
            raise UsageError(
                f"{lacking or files[0]} has no column uid, or no {' or '.join(columns)}: "
                "pass --caption-column, or files that have both"
            )
        for file in files:
            check_size(file, ["uid", chosen])
        sizes = [(file, size_of(file)) for file in files]
        digest = hashlib.sha256(json.dumps([chosen, sizes]).encode()).hexdigest()
        return cls(tuple(files), chosen, InputFile(path=pattern, size=sum(size for _, size in sizes), sha256=digest))

    def of(self, uids: Iterable[str | None]) -> dict[str, str]:
        """The captions of these uids, as far as there are any. Goes through all files, and holds what is asked for."""
        import polars as pl  # here alone, so that what needs no search starts fast

        wanted = sorted({uid for uid in uids if uid})
        captions: dict[str, str] = {}
        for file in self.files if wanted else ():
            columns = [pl.col("uid").cast(pl.String), pl.col(self.column).cast(pl.String).alias("caption")]
            folder, name = split(file)
            rows = pl.scan_parquet(folder.source(name), glob=False).select(columns)  # noqa: TID251  `open` has checked
            rows = rows.filter(pl.col("uid").is_in(wanted) & pl.col("caption").is_not_null())
            try:
                found = rows.collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise ShardloomError(f"cannot read captions in {file}: {one_line(error)}") from None
            for uid, caption in found.iter_rows():
                captions.setdefault(uid, caption)
        return captions


def schema_of(file: str) -> list[str]:
    """Names of the columns. Raises `UsageError` for what is no Parquet file, or is encrypted."""
    folder, name = split(file)
    with folder.open(name) as opened:
        try:
            return list(parquet_schema(opened, file).names)
        except NoParquet:
            raise UsageError(f"{file} is no Parquet file") from None


def check_size(file: str, columns: list[str]) -> None:
    """Raises `UsageError` for a file of which these columns expand over the budget."""
    folder, name = split(file)
    with folder.open(name) as opened:
        check_sizes(open_parquet(opened, file), columns)


def size_of(file: str) -> int:
    """Bytes."""
    folder, name = split(file)
    return folder.size(name)
