"""Captions looked up for the images of a shard: by uid, or by URL where there is no uid; never by key.

An img2dataset key depends on how a download was cut into shards, so it means nothing in another one (formats.md §4).
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.captions.families import FAMILIES
from curation.captions.family import CaptionFamily
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from schemas.errors import ShardloomError, UsageError, one_line
from schemas.output_set.layout import DATA, MANIFESTS, committed, read_output
from schemas.output_set.manifest import InputFile
from schemas.output_set.recipe_file import held_recipe
from schemas.storage.folder import Folder
from schemas.storage.parquet import NoParquet, batches_of, check_sizes, open_parquet, read_table

COLUMNS = ["uid", "url", "sha256", "captions", "metadata"]


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """What a caption set says of one image: the strings of its published layout."""

    captions: str
    metadata: str
    sha256: str | None  # of the image's bytes; None when the set doesn't say


class Captions:
    """Rows of a caption set, to be looked up. Of several rows of one image the first counts."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._by_uid: dict[str, CaptionRow] = {}
        self._by_url: dict[str, CaptionRow] = {}
        self._without_uid: dict[str, CaptionRow] = {}
        for row in rows:
            if row["captions"] is None:
                continue
            found = CaptionRow(row["captions"], row.get("metadata") or "{}", row.get("sha256"))
            if uid := row.get("uid"):
                self._by_uid.setdefault(uid, found)
            if url := row.get("url"):
                self._by_url.setdefault(url, found)
                if not uid:
                    self._without_uid.setdefault(url, found)

    def find(self, uid: str | None, url: str | None) -> CaptionRow | None:
        """By uid where both sides have one: other rows of the same URL may be of another alt text, or another day."""
        if uid and uid in self._by_uid:
            return self._by_uid[uid]
        return (self._without_uid if uid else self._by_url).get(url or "")


class CaptionSet:
    """A set that `shardloom render` wrote, or any folder of Parquet files in a published layout of BLIP3's.

    `revision` tells two states of the set apart, by the hashes of its files, or by their sizes if it is not our own.
    """

    def __init__(self, url: str) -> None:
        self.folder = Folder(url)
        self.own = self.folder.exists(MANIFESTS)
        self.hashes: dict[str, str] = {}  # of our own files
        self.images: dict[str, set[str]] = {}  # file -> hashes of what it was made from, the image shard among them
        if self.own:
            self.rendered = held_recipe(self.folder)
            if self.rendered.get("kind") != RenderRecipe.kind:
                raise UsageError(f"{url} is no caption set, but one of kind {self.rendered.get('kind')!r}: render it")
            sizes = {}
            for manifest in committed(self.folder).values():
                for out in manifest.outputs:
                    if out.path == f"{DATA}/{manifest.name}.parquet":
                        sizes[out.path], self.hashes[out.path] = out.size, out.sha256
                        self.images[out.path] = {file.sha256 for file in manifest.inputs}
        else:
            sizes = {name: self.folder.size(name) for name in self.folder.names() if name.endswith(".parquet")}
        if not sizes:
            raise UsageError(f"{url} holds no captions (*.parquet)")
        self.files = sorted(sizes)
        self.family = self._own_family() if self.own else self._published_family()
        state = [[name, sizes[name], self.hashes.get(name)] for name in self.files]
        digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
        self.revision = InputFile(path=url, size=sum(sizes.values()), sha256=digest)

    def resolved(self, recipe: ShardRecipe) -> ShardRecipe:
        """The recipe with the name of the source. Raises `UsageError` when what is to become the text is not there."""
        raw = "with" if recipe.raw_caption else "without"
        name, numbers = self.family.name, self.family.granularities
        if recipe.granularity not in numbers:
            raise UsageError(f"granularity: {name} captions have 0 to {numbers[-1]}, not {recipe.granularity}")
        if self.own and recipe.granularity not in self.rendered["granularities"]:
            has = ", ".join(map(str, self.rendered["granularities"]))
            raise UsageError(f"granularity: {self.folder.url} holds {has} and not {recipe.granularity}")
        if self.own and self.rendered["raw_caption"] not in (raw, "both"):
            raise UsageError(f"raw_caption: {self.folder.url} holds no captions {raw} the alt text")
        return recipe.model_copy(update={"source": recipe.source or self.family.source})

    def namesake(self, shard: str) -> str | None:
        """The file that was rendered from annotations of a shard of this name, if there is one."""
        name = f"{DATA}/{shard}.parquet"
        return name if name in self.hashes else None

    def is_of(self, shard: str, sha256: str) -> bool:
        """Whether the namesake has all captions of the shard with these bytes: the name alone says little."""
        name = self.namesake(shard)
        return name is not None and sha256 in self.images[name]

    def of_shard(self, shard: str, is_own: bool, identities: Callable[[], set[str]]) -> Captions:
        """Captions of the images in a shard at least.

        The namesake is read alone if the shard `is_own`. Else the whole set is searched for `identities`, uids and
        URLs, which is slow for a large one: render it from annotations of these very shards.
        """
        name = self.namesake(shard)
        if is_own and name is not None:
            data = read_output(self.folder, name, self.hashes[name])
            return Captions(read_table(io.BytesIO(data), COLUMNS).to_pylist())
        return Captions(self._search(identities()))

    def _own_family(self) -> CaptionFamily:
        """The family that the set was rendered as, looked up by its name. Raises `UsageError`."""
        name = self.rendered.get("family", "ocr")
        if name not in FAMILIES.names():
            raise UsageError(
                f"{self.folder.url} holds captions of the family {name!r}, which is not known here: install what "
                "declares it, or pass --trust-code package.module:Name"
            )
        return FAMILIES.find(name)

    def _published_family(self) -> CaptionFamily:
        """The family of another's set, by its first captions: OCR's are JSON objects, grounding's Python lists."""
        for name in self.files:
            try:
                with self.folder.open(name) as file:
                    for batch in batches_of(open_parquet(file, self.folder.path(name)), 64, ["captions"]):
                        for captions in batch.to_pydict().get("captions", []):
                            if captions and (family := published_as(captions)):
                                return family
                        break
            except (pa.ArrowException, NoParquet, TypeError) as error:
                raise ShardloomError(f"cannot read captions in {self.folder.path(name)}: {one_line(error)}") from None
        return FAMILIES.find("ocr")

    def _search(self, identities: set[str]) -> list[dict[str, Any]]:
        import polars as pl  # here alone, so that what needs no search starts fast

        ids, found, is_known = sorted(identities), list[dict[str, Any]](), False
        try:
            for file in self.files:  # one after another: those of an object store are held in memory
                with self.folder.open(file) as opened:
                    check_sizes(open_parquet(opened, self.folder.path(file)), COLUMNS)
                lazy = pl.scan_parquet(self.folder.source(file), glob=False)  # noqa: TID251  checked above
                names = [name for name in COLUMNS if name in lazy.collect_schema().names()]
                keys = [name for name in names if name in ("uid", "url")]
                if keys and "captions" in names:
                    wanted = pl.any_horizontal(pl.col(name).is_in(ids) for name in keys)
                    found += lazy.select(names).filter(wanted).collect().to_dicts()
                    is_known = True
        except (pl.exceptions.PolarsError, NoParquet, OSError) as error:
            raise ShardloomError(f"cannot read captions in {self.folder.url}: {one_line(error)}") from None
        if not is_known:
            raise UsageError(f"{self.folder.url}: the files have no columns `captions` and `uid` or `url`")
        return found


def published_as(captions: str) -> CaptionFamily | None:
    """The family whose list of captions this may be; None for what is no list, or an empty one."""
    opening = re.match(r"\s*\[\s*(\S)", captions)
    families = FAMILIES.shipped.values() if opening else ()
    return next((family for family in families if opening and opening[1] in family.item_openings), None)
