"""Captions looked up for the images of a shard: by uid, or by URL where there is no uid; never by key.

An img2dataset key depends on how a download was cut into shards, so it means nothing in another one (formats.md §4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipelines.output import DATA, committed
from pipelines.storage import Folder
from schemas.errors import UsageError

COLUMNS = ["uid", "url", "sha256", "captions", "metadata"]


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a caption set says of one image. `captions` and `metadata` are JSON, as the published layout has them."""

    captions: str
    metadata: str
    sha256: str | None  # of the image's bytes; None when the set doesn't say


class CaptionSet:
    """A set that `shardloom render` wrote, or any folder of Parquet files in the published BLIP3-OCR layout."""

    def __init__(self, url: str) -> None:
        self.folder = Folder(url)
        self.own = self.folder.exists("manifests")
        if self.own:
            self.files = {f"{DATA}/{name}.parquet" for name in committed(self.folder)}
        else:
            self.files = {name for name in self.folder.names() if name.endswith(".parquet")}
        if not self.files:
            raise UsageError(f"{url} holds no captions (*.parquet)")

    def of_shard(self, shard: str, identities: Callable[[], set[str]]) -> dict[str, CaptionRow]:
        """Captions by uid or URL, of the images in a shard at least. `identities` is asked for theirs if need be.

        A file with the shard's name is read alone when the set is our own. Else the whole set is searched, which is
        slow for a large one: render it from annotations of these shards, or sort it into files named after them.
        """
        namesake = f"{DATA}/{shard}.parquet"
        if self.own and namesake in self.files:
            with self.folder.open(namesake) as file:
                return _rows(pq.read_table(file, columns=COLUMNS).to_pylist())
        files = [pl.scan_parquet(self.folder.path(name)) for name in sorted(self.files)]
        lazy = pl.concat(files, how="diagonal_relaxed")
        names = [name for name in COLUMNS if name in lazy.collect_schema().names()]
        wanted = pl.any_horizontal(pl.col(name).is_in(sorted(identities())) for name in names if name in ("uid", "url"))
        return _rows(lazy.select(names).filter(wanted).collect().to_dicts())


def _rows(rows: list[dict[str, Any]]) -> dict[str, CaptionRow]:
    """By uid or URL; of several rows of one image the first counts."""
    found: dict[str, CaptionRow] = {}
    for row in rows:
        if identity := row.get("uid") or row.get("url"):
            found.setdefault(identity, CaptionRow(row["captions"], row.get("metadata") or "{}", row.get("sha256")))
    return found
