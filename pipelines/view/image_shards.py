"""Finds the images of a page in the tars that a set was made from, or in those that the user names."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.inputs.shards import list_labelled_shards
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.datacomp import IMAGE_EXTENSIONS
from schemas.output_set.image_folders import ImageFolder, locate_folders, make_tar_path, split_tar_path
from schemas.storage.folder import Folder, split_path
from schemas.tar.reader import TarReader

MAX_TARS = 4  # that are read for keys whose shard is not recorded
LATE = "some pictures were not looked for, because the time for the page was over: `shardloom view` takes its time"


class ImageShards:
    """Reads images by their shard and key."""

    def __init__(self, output: Folder, patterns: Sequence[str], is_late: Callable[[], bool] = lambda: False) -> None:
        """Finds the shards that the user names. Raises `UsageError` for a pattern that matches nothing, or no tars.

        No tar is read on once `is_late` returns True.
        """
        self._output, self._is_late = output, is_late
        self._is_given = bool(patterns)
        self._given: dict[str, str] = {}
        for shard in list_labelled_shards(patterns, ".tar"):
            if shard.name in self._given:
                raise UsageError(f"--images: {self._given[shard.name]} and {shard.path} are both named {shard.name}")
            self._given[shard.name] = shard.path
        self.notes: dict[str, None] = {}
        """What kept pictures from being shown, each once."""

    def read(self, recorded: Sequence[str], shard: str, keys: set[str]) -> dict[str, bytes]:
        """Returns the images of the shard of this name by key, as far as they are found.

        `recorded` are the paths of tars in the manifest, of which the one of this name counts.
        """
        return {key: data for key, _, data in self.iterate(recorded, shard, keys)}

    def iterate(self, recorded: Sequence[str], shard: str, keys: set[str]) -> Iterator[tuple[str, str, bytes]]:
        """Yields key, ending and bytes of the same images one by one, in the order of the tar, each key once."""
        path = self.locate(recorded, shard)
        if path is None or not keys:
            return
        folder, name = split_path(path)
        left = set(keys)
        try:
            with folder.open(name) as file:
                for sample in TarReader(file, hashing=False):
                    if not left or self._is_late():
                        break
                    ending = next((one for one in IMAGE_EXTENSIONS if one in sample.members), None)
                    if sample.key in left and ending is not None:
                        left.remove(sample.key)
                        yield sample.key, ending, sample.members[ending].data
        except ShardloomError as error:
            self.notes[f"{error}"] = None
        if left and self._is_late():
            self.notes[LATE] = None

    def read_from_any(self, recorded: Sequence[str], keys: set[str]) -> dict[str, bytes]:
        """Returns the images with these keys in some of the tars, except for keys that several of them have."""
        found: dict[str, bytes] = {}
        repeated: set[str] = set()
        for shard in [Path(path).stem for path in recorded][:MAX_TARS]:
            images = self.read(recorded, shard, keys)
            repeated |= found.keys() & images.keys()
            found |= images
        return {key: data for key, data in found.items() if key not in repeated}

    def locate(self, recorded: Sequence[str], shard: str) -> str | None:
        """Returns the path of the shard of this name, among those that the user names if he does; None: not found."""
        if self._is_given:
            if shard not in self._given:
                self.notes[f"no tar that --images names is the shard {shard}"] = None
            return self._given.get(shard)
        path = next((one for one in recorded if Path(one).stem == shard), None)
        if path is None:
            return None
        tar = make_tar_path(path)
        folder, name = split_tar_path(tar)
        try:
            place = locate_folders(self._output, [ImageFolder(path=folder)], {})[folder]
        except (UsageError, ValueError):
            self.notes[f"the images were in {folder}, which is not there or may not be asked: pass --images"] = None
            return None
        return f"{place}/{name}"
