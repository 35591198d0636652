"""Finds the images that rows of a question set name, in a folder or in a tar."""

from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import QuestionImage
from schemas.errors import StorageError, UsageError
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder, split_path
from schemas.tar.reader import TarReader

_MAX_BYTES = 1 << 28  # of one image file
_MAX_NAME = 4096  # bytes of a path on Linux
_MAX_SHOWN = 200  # characters of a name in a message; an address may hold an image
_ANY_ENDING = ".*"  # of a name whose row does not say it, as MME's
_ENDINGS = (".jpg", ".png", ".jpeg")


class QuestionImages:
    """Reads the images of one question set."""

    def __init__(self, options: QuestionSetOptions) -> None:
        """Lists the members if the images are in a tar. Raises `UsageError` if that can't be read."""
        place = options.images or split_path(options.path)[0].url
        self._tar: str | None = None
        self._members: dict[str, tuple[int, int]] = {}
        if place.endswith(".tar"):
            self._folder, self._tar = split_path(place)
            self._members = _list_members(self._folder, self._tar)
        else:
            self._folder = Folder(place)

    def read(self, image: QuestionImage) -> bytes:
        """Returns the bytes of an image file. Raises `Rejected` for one that is not there."""
        if isinstance(image, bytes):
            return image
        name = self._find_ending(image.name) if image.name.endswith(_ANY_ENDING) else image.name
        if self._tar is None:
            return self._read_file(name)
        if (place := self._members.get(_strip_dot(name))) is None:
            raise Rejected(Reason.LOST_IMAGE, f"{_shorten(name)} is not in {self._folder.resolve_path(self._tar)}")
        return self._folder.read_range(self._tar, *place)

    def _find_ending(self, name: str) -> str:
        """Returns the name with the first of the usual endings that there is; the name itself if there is none."""
        names = [name.removesuffix(_ANY_ENDING) + ending for ending in _ENDINGS]
        return next((each for each in names if self._has_file(each)), name)

    def _has_file(self, name: str) -> bool:
        if self._tar is not None:
            return _strip_dot(name) in self._members
        return _is_inside(name) and self._folder.exists(name)

    def _read_file(self, name: str) -> bytes:
        if not _is_inside(name):
            raise Rejected(Reason.LOST_IMAGE, f"{_shorten(name)} is no path inside {self._folder.url}")
        try:
            return self._folder.read_inside(name, _MAX_BYTES)
        except StorageError as error:
            raise Rejected(Reason.LOST_IMAGE, str(error)) from None


def _is_inside(name: str) -> bool:
    """Returns whether a name can be that of a file in the folder, and not of one elsewhere."""
    is_path = len(name) <= _MAX_NAME and "\0" not in name
    return is_path and not name.startswith("/") and "://" not in name and ".." not in name.split("/")


def _strip_dot(name: str) -> str:
    """Returns the name of a tar's member without the folder `.`, with which `tar -c .` begins each."""
    return name.removeprefix("./")


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..."


def _list_members(folder: Folder, tar: str) -> dict[str, tuple[int, int]]:
    """Returns the first and the last byte (exclusive) of each file of a tar, by its name there."""
    try:
        with folder.open(tar) as file:
            return {
                _strip_dot(member.name): (member.offset, member.offset + len(member.data))
                for sample in TarReader(file, hashing=False)
                for member in sample.members.values()
            }
    except StorageError as error:
        raise UsageError(f"images: {error}") from None
