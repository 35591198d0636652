"""Finds the input shards of a run, with their paths, names and sizes."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import pyarrow as pa

from pipelines.inputs.row_choice import RowChoice, choose_rows
from pipelines.recipes.rows import ChosenRows
from schemas.compression import check_uncompressed
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.datacomp import read_downloaded_keys
from schemas.masking import mask_secrets
from schemas.storage.folder import Folder, split_path
from schemas.storage.parquet import UnreadableParquet
from schemas.storage.path_patterns import list_matching_sizes
from schemas.tar.count import count_samples
from schemas.tar.reader import TarReader, TarSample


@dataclass(frozen=True, slots=True)
class InputShard:
    """Describes one input file. `name` is its file name without the ending; outputs are named after it."""

    name: str
    path: str
    listed_size: int | None = None  # bytes, from the listing: without it, an object store gets one request per shard
    distinct_name: str = ""  # distinguishes it from a same-named file; else empty
    choice: RowChoice | None = None  # of its samples; None: all

    @property
    def source(self) -> str:
        """Returns its name in an output that several inputs go into."""
        return self.distinct_name or self.name

    @property
    def label(self) -> str:
        """Returns its name in manifests: its path, without a URL's secrets."""
        return mask_secrets(self.path)

    def split_path(self) -> tuple[Folder, str]:
        """Returns the file's folder and its name there."""
        return split_path(self.path)

    def get_size(self) -> int:
        """Returns the file's size in bytes."""
        if self.listed_size is not None:
            return self.listed_size
        folder, file_name = self.split_path()
        return folder.get_size(file_name)

    def estimate_chosen_size(self) -> int:
        """Returns the bytes of the samples that are chosen, if all samples are of one size."""
        size = self.get_size()
        return size if self.choice is None else max(1, size * self.choice.chosen // max(1, self.choice.rows))

    def count_samples(self) -> int:
        """Returns the number of samples in this tar, chosen or not."""
        folder, file_name = self.split_path()
        with folder.open(file_name) as file:
            if folder.is_local:
                return count_samples(file)
            return sum(1 for _ in TarReader(file, hashing=False))  # a store's stream has no cheap seek

    def is_damaged(self) -> bool:
        """Returns whether something in this tar cannot be read; reads all of it."""
        folder, file_name = self.split_path()
        with folder.open(file_name) as file:
            reader = TarReader(file, hashing=False)
            for _ in reader:  # the damage is known at the end
                pass
            return bool(reader.damage)


def choose_samples(shards: Sequence[InputShard], options: ChosenRows) -> list[InputShard]:
    """Returns the tars with chosen samples, each with its choice. A limit opens no tar after the last one of these."""
    name, count = attrgetter("source"), InputShard.count_samples
    chosen = choose_rows(options, shards, name, count, InputShard.is_damaged)
    return [replace(shard, choice=choice) for shard, choice in chosen]


class ChosenSamples:
    """Iterates over the chosen samples of a tar. Afterwards `keys` has the keys of all samples."""

    def __init__(self, shard: InputShard, samples: Iterable[TarSample]) -> None:
        self.keys: list[str] = []
        self._shard, self._samples, self._chosen = shard, samples, 0

    def __iter__(self) -> Iterator[TarSample]:
        choice = self._shard.choice
        marks = itertools.repeat(True) if choice is None else choice.mark_rows()
        for sample, is_chosen in zip(self._samples, marks, strict=False):
            self.keys.append(sample.key)
            if is_chosen:
                self._chosen += 1
                yield sample
        if choice is not None and (self._chosen, len(self.keys)) != (choice.chosen, choice.rows):
            raise ShardloomError(f"{self._shard.path} has changed since this run began: run the same command again")

    @property
    def left_out(self) -> dict[str, int]:
        """Returns the number of samples that are not chosen, by the option that chooses; empty without a choice."""
        choice = self._shard.choice
        return {} if choice is None else {choice.option: len(self.keys) - self._chosen}


def list_input_shards(patterns: Sequence[str], ending: str) -> list[InputShard]:
    """Returns the files that the globs match, in the order of their paths. Raises `UsageError` for same-named files."""
    shards: dict[str, InputShard] = {}
    for shard in list_labelled_shards(patterns, ending):
        if shard.name in shards:
            raise UsageError(
                f"{shards[shard.name].path} and {shard.path} would both give an output named {shard.name}: "
                "write them into separate outputs"
            )
        shards[shard.name] = shard
    return list(shards.values())


def list_labelled_shards(patterns: Sequence[str], ending: str) -> list[InputShard]:
    """Returns the files that the globs match, for outputs that are not named after them. Same-named files get labels.

    Raises `UsageError` for a file without the ending, or one that two paths name.
    """
    sizes = {path: size for pattern in patterns for path, size in list_matching_sizes(pattern).items()}
    names: dict[str, list[str]] = {}
    for path in sorted(sizes):
        name = path.rsplit("/", 1)[-1]
        if not name.endswith(ending):
            check_uncompressed(path)
            raise UsageError(f"{path} is not a {ending} file: the glob should match only shards")
        names.setdefault(name.removesuffix(ending), []).append(path)
    labels: dict[str, str] = {}
    for paths in names.values():
        if len(paths) > 1:
            refuse_repeated_files(paths)
            labels |= {path: label.removesuffix(ending) for path, label in make_labels(paths).items()}
    shards = [
        InputShard(name, path, sizes[path], labels.get(path, "")) for name, paths in names.items() for path in paths
    ]
    return sorted(shards, key=lambda shard: shard.path)


def refuse_repeated_files(paths: Sequence[str]) -> None:
    """Raises `UsageError` when two paths name one file, whose samples would occur twice."""
    files: dict[str, str] = {}
    for path in paths:
        file = path if "://" in path else os.path.realpath(path)
        if file in files:
            raise UsageError(f"{files[file]} and {path} are the same file: name it once")
        files[file] = path


def make_labels(paths: Sequence[str]) -> dict[str, str]:
    """Cuts paths to their shortest distinct ends: `images/a/0.tar` and `images/b/0.tar` to `a/0.tar` and `b/0.tar`."""
    parts = {path: path.split("/") for path in paths}
    for depth in range(1, max(map(len, parts.values()))):
        labels = {path: "/".join(each[-depth:]) for path, each in parts.items()}
        if len(set(labels.values())) == len(paths):
            return labels
    return {path: path for path in paths}


def find_missing_downloads(folder: Folder, name: str, keys: list[str]) -> list[str]:
    """Returns the damage of a tar: the samples that its side Parquet file lists as downloaded and the tar lacks."""
    side = f"{name}.parquet"
    if not folder.exists(side):
        return []
    there = {key.rpartition("/")[2] for key in keys}  # repacked tars may have `./` before their keys
    try:
        listed = read_downloaded_keys(io.BytesIO(folder.read(side)), there)
    except (pa.ArrowException, OSError, UnreadableParquet) as error:
        return [f"{side} can't be read: {error}"]
    missing = sorted(set(listed or []) - there)
    if not missing:
        return []
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [f"{len(missing)} samples that {side} lists are not in the tar: {some}"]
