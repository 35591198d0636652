"""Finds the sets that a set was made from, where its recipe names them or where the user says they are now."""

from collections.abc import Mapping, Sequence

from pipelines.view.image_shards import ImageShards
from schemas.errors import UsageError
from schemas.output_set.image_folders import ImageFolder, parse_places
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.storage.folder import Folder, split_path

TAR = ".tar"


class SetInputs:
    """Finds the inputs of sets. Each is known by its name: `annotations`, `captions`, or that of a mixture's source."""

    def __init__(self, sets: Mapping[str, str], images: Sequence[str]) -> None:
        self._sets, self._images = sets, images
        self._asked: dict[str, None] = {}

    def find(self, name: str, recorded: str, made: str) -> Folder:
        """Returns the folder of a set from which the set at `made` was made. Raises `UsageError` if it is no set."""
        path = self.resolve(name, recorded)
        folder = Folder(path)
        if not folder.exists(RECIPE_FILE):
            raise UsageError(
                f"{made} was made from the {name} in {path}, where no output set is now: pass --set {name}=FOLDER"
            )
        return folder

    def resolve(self, name: str, recorded: str) -> str:
        """Returns the present path of an input: what the user says, or else the recorded path."""
        self._asked[name] = None
        return self._sets.get(name, recorded)

    def is_given(self, name: str) -> bool:
        """Returns whether the user says where this input is."""
        self._asked[name] = None
        return name in self._sets

    def open_images(self, output: Folder) -> ImageShards:
        """Returns what finds the image shards of a set. Raises `UsageError` for a pattern that matches nothing."""
        return ImageShards(output, [_to_pattern(value) for value in self._images])

    def find_places(self, recorded: Sequence[ImageFolder]) -> dict[str, str]:
        """Returns the present folders of the image tars that a set refers to, by the recorded ones."""
        return parse_places([_to_folder(value) for value in self._images], recorded) if recorded else {}

    def check_all_used(self, output_set: str) -> None:
        """Raises `UsageError` for an input that the user has named and that the set was not made from."""
        if unknown := [name for name in self._sets if name not in self._asked]:
            known = ", ".join(self._asked) or "no other set"
            raise UsageError(f"--set {unknown[0]}: {output_set} was made from {known}")


def _to_pattern(value: str) -> str:
    """Returns the glob of the tars that a value of --images means: a glob, a folder, or OLD=NEW."""
    path = value if value.endswith(TAR) else value.rpartition("=")[2]
    return path if path.endswith(TAR) else f"{path.rstrip('/')}/*{TAR}"


def _to_folder(value: str) -> str:
    return split_path(value)[0].url if value.endswith(TAR) else value
