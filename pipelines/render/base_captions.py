"""Looks up base captions: captions of other data sets (KALE, the released grounding set) to write locations into."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from curation.captions.lookup import ATTRIBUTES, Lookup, Match, Row
from pipelines.inputs.caption_rows import IDENTITY_COLUMNS, Texts, find_rows
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.render import RenderRecipe
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, MANIFESTS
from schemas.output_set.manifest import InputFile
from schemas.output_set.recipe_file import RECIPE_FILE, read_stored_recipe
from schemas.records.identity import Identity
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder, split_path
from schemas.storage.parquet import NotParquet, check_sizes, open_parquet, read_parquet_schema
from schemas.storage.path_patterns import list_matching

CAPTION_COLUMNS = ("caption", "cogvlm_caption")
"""The default columns of captions: KALE's column, then that of the released grounding set."""


@dataclass(frozen=True, slots=True)
class ShardBaseCaptions:
    """Holds the base captions of one annotation file."""

    found: dict[str, Match[Texts]]  # by key
    faults: dict[str, Rejected]  # by key: why a caption is unusable; samples without one are in neither

    def get_caption(self, key: str) -> str | None:
        """Returns the caption of a sample, or None."""
        said = self.found[key].row.value[0] if key in self.found else None
        return said if isinstance(said, str) else None

    def count_matches(self, keys: Iterable[str]) -> dict[str, int]:
        """Counts the captions of these samples that were found by the image, with other ids, or ambiguously."""
        return dict(sorted(sum((Counter(self.found[key].counts) for key in keys), Counter[str]()).items()))


@dataclass(frozen=True, slots=True)
class BaseCaptionFiles:
    """Names Parquet files with a caption in each row, and a uid, a URL or the image's hash to find it by.

    Files of annotation and caption sets that Shardloom wrote are joined by shard and key, checked by the image's hash.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    """The bytes of each file."""
    shards: tuple[str | None, ...]
    """The shard that each file describes; None for a file that Shardloom did not write."""
    column: str
    attributes: tuple[str, ...]
    """The columns by which captions are found, as far as any of the files has them."""
    revision: InputFile
    """Identifies the state of the files by their sizes: hashing a few hundred gigabytes would take longer than
    rendering."""

    @classmethod
    def open(cls, pattern: str, column: str | None) -> Self:
        """Opens the files that match a glob. Raises `UsageError` if none matches, or one lacks the columns."""
        files = list_matching(pattern)
        names = [read_column_names(file) for file in files]
        columns = CAPTION_COLUMNS if column is None else (column,)
        chosen = next((name for name in columns if name in names[0]), None)
        missing = next(
            (
                file
                for file, has in zip(files, names, strict=True)
                if chosen not in has or not set(ATTRIBUTES) & set(has)
            ),
            None,
        )
        if chosen is None or missing is not None:
            raise UsageError(
                f"{missing or files[0]} has no column uid, or no {' or '.join(columns)}: "
                "pass --caption-column, or files that have both (url or sha256 will do for uid)"
            )
        for file in files:
            check_size(file, [*IDENTITY_COLUMNS, chosen])
        sizes = [get_file_size(file) for file in files]
        state = [chosen, list(zip(files, sizes, strict=True))]
        digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
        revision = InputFile(path=pattern, size=sum(sizes), sha256=digest)
        shards = find_shards(files)
        known = set().union(*names) & {*ATTRIBUTES, *(["key"] if any(shards) else [])}
        return cls(tuple(files), tuple(sizes), shards, chosen, tuple(sorted(known)), revision)

    def look_up(self, samples: Collection[Identity]) -> ShardBaseCaptions:
        """Finds the captions of samples of one shard. Scans all files, and keeps only the rows of these samples."""
        shards = zip(self.files, self.shards, strict=True) if samples else ()
        found = ((shard, find_rows(*split_path(file), [self.column], samples, shard) or []) for file, shard in shards)
        return self.match(samples, found)

    def match(
        self, samples: Collection[Identity], rows: Iterable[tuple[str | None, Sequence[Row[Texts]]]]
    ) -> ShardBaseCaptions:
        """Finds the captions of samples among rows, which are given for each file in order, with the file's shard."""
        own, others = list[Row[Texts]](), list[Row[Texts]]()
        for shard, found in rows:
            (others if shard is None else own).extend(found)
        ours, theirs = Lookup(own), Lookup(others)
        bases = ShardBaseCaptions({}, {})
        for sample in samples:
            assert sample.key is not None
            try:
                if (match := (ours.find_own(sample) if own else None) or theirs.find_other(sample)) is not None:
                    if isinstance(said := match.row.value[0], Rejected):
                        raise Rejected(said.reason, f"its caption: {said.detail}")
                    bases.found[sample.key] = match
            except Rejected as fault:
                bases.faults[sample.key] = fault
        return bases


def read_identities(table: pa.Table, shard: str) -> list[Identity]:
    """Returns the identities of the rows of an annotation file."""
    columns = (table[name].to_pylist() for name in IDENTITY_COLUMNS)
    return [
        Identity(shard, key, sha256, uid or None, url or None) for key, uid, url, sha256 in zip(*columns, strict=True)
    ]


def make_no_caption_fault(sample: Identity, pattern: str | None) -> Rejected:
    """Returns the fault of a sample for which the files contain no caption."""
    by = "uid" if sample.uid else "url" if sample.url else "image"
    return Rejected(Reason.NO_CAPTION, f"no caption of its {by} in {pattern}")


def find_shards(files: Sequence[str]) -> tuple[str | None, ...]:
    """Returns the shard that each file describes; None for a file outside Shardloom's annotation and caption sets."""
    own: dict[str, bool] = {}
    shards: list[str | None] = []
    for file in files:
        folder, name = split_path(file)
        if folder.url not in own:
            own[folder.url] = is_own_data(folder)
        shards.append(name.removesuffix(".parquet") if own[folder.url] else None)
    return tuple(shards)


def is_own_data(data: Folder) -> bool:
    """Returns whether a folder is the data folder of an annotation or caption set that Shardloom wrote."""
    above, _, name = data.url.rstrip("/").rpartition("/")
    output = Folder(above or ".")
    if name != DATA or not output.exists(MANIFESTS) or not output.exists(RECIPE_FILE):
        return False
    return read_stored_recipe(output).get("kind") in (AnnotateRecipe.kind, RenderRecipe.kind)


def read_column_names(file: str) -> list[str]:
    """Returns the names of a file's columns. Raises `UsageError` if it is not a Parquet file, or is encrypted."""
    folder, name = split_path(file)
    with folder.open(name) as opened:
        try:
            return list(read_parquet_schema(opened, file).names)
        except NotParquet:
            raise UsageError(f"{file} is not a Parquet file") from None


def check_size(file: str, columns: list[str]) -> None:
    """Raises `UsageError` for a file whose columns, of these, expand over the memory budget."""
    folder, name = split_path(file)
    with folder.open(name) as opened:
        check_sizes(open_parquet(opened, file), columns)


def get_file_size(file: str) -> int:
    """Returns the size of a file, in bytes."""
    folder, name = split_path(file)
    return folder.get_size(name)
