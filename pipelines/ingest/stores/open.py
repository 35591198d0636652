"""Opens the stores of images that `ingest --images` names: img2dataset shards, a map of URLs to files, or folders.

A folder holds files by their names (Visual Genome's two), a `.json` is a map, anything else is a glob of tars as
img2dataset writes them, joined on the URL; never on its keys, which mean nothing outside of one download
(docs/formats.md §4). Several may be given; the first that has an address counts, the shards last.

Images that no store has are lost, with their reason. A step that downloads them belongs before this one: it gives
shards like those of img2dataset, which are read here.
"""

from collections.abc import Sequence

from pipelines.ingest.stores.folder import FolderStore, is_folder
from pipelines.ingest.stores.shards import ShardStore
from pipelines.ingest.stores.store import ImageStore
from pipelines.ingest.stores.url_map import MapStore
from pipelines.inputs.shards import InputShard
from schemas.compression import check_uncompressed
from schemas.errors import UsageError
from schemas.storage.matching import matching


def open_stores(patterns: Sequence[str]) -> list[ImageStore]:
    """The stores that these folders, maps and globs are. Raises `UsageError` for one that is none."""
    stores: list[ImageStore] = []
    tars: list[str] = []
    for pattern in patterns:
        if pattern.endswith(".json"):
            stores.append(MapStore(pattern))
        elif is_folder(pattern):
            stores.append(FolderStore(pattern))
        else:
            tars.append(pattern)
    return [*stores, ShardStore(image_tars(tars))] if tars else stores


def image_tars(patterns: Sequence[str]) -> list[InputShard]:
    """The tars that the globs match, in the order of their paths. Their names may be equal: each download has the same.

    Raises `UsageError`: none, or another file than a tar.
    """
    paths = sorted({path for pattern in patterns for path in matching(pattern)})
    wrong = next((path for path in paths if not path.endswith(".tar")), None)
    if wrong is not None:
        check_uncompressed(wrong)
        raise UsageError(f"images: {wrong} is no .tar file: the glob should match img2dataset's shards alone")
    return [InputShard(path.rsplit("/", 1)[-1].removesuffix(".tar"), path) for path in paths]
