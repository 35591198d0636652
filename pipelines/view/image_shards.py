"""Finds the images of a page in the tars that a set was made from, or in those that the user names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType

from pipelines.inputs.shards import list_labelled_shards, make_labels
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.datacomp import IMAGE_EXTENSIONS
from schemas.output_set.image_folders import ImageFolder, Places, locate_folders, make_tar_path, split_tar_path
from schemas.storage.folder import Folder, split_path
from schemas.tar.reader import TarReader

MAX_TARS = 4  # that are read for keys whose shard is not recorded
LATE = "some pictures were not looked for, because the time for the page was over: `shardloom view` takes its time"


def find_tars(paths: Iterable[str], shard: str) -> list[str]:
    """Returns the paths of tars of this name, which may begin with folders: of several files of one name, `b/0`."""
    return [path for path in paths if f"/{path}".endswith(f"/{shard}.tar")]


class ImageShards:
    """Reads images by their shard and key."""

    def __init__(
        self,
        output: Folder,
        patterns: Sequence[str],
        is_late: Callable[[], bool] = lambda: False,
        places: Places = MappingProxyType({}),
    ) -> None:
        """Finds the shards that the user names. Raises `UsageError` for a pattern that matches nothing, or no tars.

        No tar is read on once `is_late` returns True. `places` has the present folders of tars that were moved.
        """
        self._output, self._is_late, self._places = output, is_late, places
        self._given = [shard.path for shard in list_labelled_shards(patterns, ".tar")]
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
        paths = list(dict.fromkeys(recorded))[:MAX_TARS]
        for label in make_labels(paths).values() if paths else ():
            images = self.read(recorded, label.removesuffix(".tar"), keys)
            repeated |= found.keys() & images.keys()
            found |= images
        return {key: data for key, data in found.items() if key not in repeated}

    def locate(self, recorded: Sequence[str], shard: str) -> str | None:
        """Returns the path of the shard of this name, among those that the user names if he does; None: not found.

        Raises `UsageError` if the user names several of this name.
        """
        if self._given:
            found = find_tars(self._given, shard)
            if len(found) > 1:
                raise UsageError(f"--images: {found[0]} and {found[1]} are both named {shard}")
            if not found:
                self.notes[f"no tar that --images names is the shard {shard}"] = None
            return next(iter(found), None)
        path = next(iter(find_tars(recorded, shard)), None)
        if path is None:
            return None
        tar = make_tar_path(path)
        folder, name = split_tar_path(tar)
        try:
            place = locate_folders(self._output, [ImageFolder(path=folder)], self._places)[folder]
        except (UsageError, ValueError):
            self.notes[f"the images were in {folder}, which is not there or may not be asked: pass --images"] = None
            return None
        return f"{place}/{name}"
