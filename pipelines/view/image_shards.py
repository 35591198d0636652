"""Finds the images of a page in the tars that a set was made from, or in those that the user names."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.inputs.shards import list_labelled_shards
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.datacomp import IMAGE_EXTENSIONS
from schemas.output_set.image_folders import ImageFolder, locate_folders, make_tar_path, split_tar_path
from schemas.storage.folder import Folder, split_path
from schemas.tar.reader import TarReader

MAX_TARS = 4  # that are read for keys whose shard is not recorded


class ImageShards:
    """Reads images by their shard and key."""

    def __init__(self, output: Folder, patterns: Sequence[str]) -> None:
        """Finds the shards that the user names. Raises `UsageError` for a pattern that matches nothing, or no tars."""
        self._output = output
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
        return self._read_tar(self.locate(recorded, shard), keys)

    def read_from_any(self, recorded: Sequence[str], keys: set[str]) -> dict[str, bytes]:
        """Returns the images with these keys in some of the tars, except for keys that several of them have."""
        found: dict[str, bytes] = {}
        repeated: set[str] = set()
        for shard in [Path(path).stem for path in recorded][:MAX_TARS]:
            images = self.read(recorded, shard, keys)
            repeated |= found.keys() & images.keys()
            found |= images
        return {key: data for key, data in found.items() if key not in repeated}

    def _read_tar(self, path: str | None, keys: set[str]) -> dict[str, bytes]:
        if path is None or not keys:
            return {}
        folder, name = split_path(path)
        found: dict[str, bytes] = {}
        try:
            with folder.open(name) as file:
                for sample in TarReader(file, hashing=False):
                    ending = next((one for one in IMAGE_EXTENSIONS if one in sample.members), None)
                    if sample.key in keys and ending is not None:
                        found.setdefault(sample.key, sample.members[ending].data)
                    if len(found) == len(keys):
                        break
        except ShardloomError as error:
            self.notes[f"{error}"] = None
        return found

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
