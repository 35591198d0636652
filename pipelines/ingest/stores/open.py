"""Opens the stores of images that `ingest --images` names: img2dataset shards, a map of URLs to files, or folders.

A folder holds files by their names (as Visual Genome's two do), a `.json` is a map, and anything else is a glob of
img2dataset's tars, joined on the URL; never on their keys, which mean nothing outside of one download
(docs/formats.md §4). Several stores may be given: the first that has the image is used, the shards last.

An image that no store has is lost, with its reason. Images are downloaded before this step (`--download`, or
img2dataset itself), which reads the resulting shards.
"""

from collections.abc import Sequence

from pipelines.ingest.stores.folder import FolderStore, is_folder
from pipelines.ingest.stores.shards import ShardStore
from pipelines.ingest.stores.store import ImageStore
from pipelines.ingest.stores.url_map import MapStore
from pipelines.inputs.shards import InputShard
from schemas.compression import check_uncompressed
from schemas.errors import UsageError
from schemas.storage.path_patterns import list_matching


def open_stores(patterns: Sequence[str]) -> list[ImageStore]:
    """Opens these folders, maps and globs as stores. Raises `UsageError` for one that is none of the three."""
    stores: list[ImageStore] = []
    tars: list[str] = []
    for pattern in patterns:
        if pattern.endswith(".json"):
            stores.append(MapStore(pattern))
        elif is_folder(pattern):
            stores.append(FolderStore(pattern))
        else:
            tars.append(pattern)
    return [*stores, ShardStore(find_image_tars(tars))] if tars else stores


def find_image_tars(patterns: Sequence[str]) -> list[InputShard]:
    """Returns the tars that the globs match, sorted by path. Names may repeat: every download numbers from 0.

    Raises `UsageError` if a glob matches nothing, or a file that is not a tar.
    """
    paths = sorted({path for pattern in patterns for path in list_matching(pattern)})
    wrong = next((path for path in paths if not path.endswith(".tar")), None)
    if wrong is not None:
        check_uncompressed(wrong)
        raise UsageError(f"images: {wrong} is not a .tar file: the glob must match only img2dataset's shards")
    return [InputShard(path.rsplit("/", 1)[-1].removesuffix(".tar"), path) for path in paths]
