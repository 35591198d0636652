"""Looks up captions for the images of a shard, in a set that `shardloom render` wrote or in a published set."""

import functools
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.captions.families import FAMILIES
from curation.captions.family import CaptionFamily
from curation.captions.lookup import Lookup, Match, Row
from pipelines.inputs.caption_rows import IDENTITY_COLUMNS, Texts, find_rows
from pipelines.inputs.shards import InputShard
from pipelines.inputs.text_columns import to_text
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.layouts.blip3_grounding import ALT_TEXT
from schemas.output_set.layout import DATA, MANIFESTS, check_output, read_manifests, read_output
from schemas.output_set.manifest import InputFile
from schemas.output_set.recipe_file import RECIPE_FILE, format_value, read_stored_recipe
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder
from schemas.storage.parquet import NotParquet, iterate_batches, open_parquet, read_parquet_schema, read_table


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """Holds the columns of one image in a caption set, as strings in its published layout."""

    captions: str | Rejected
    metadata: str


class CaptionLookup:
    """Indexes rows of a caption set for look-ups. `is_own_data`: the set was written by `shardloom render`."""

    def __init__(self, rows: Iterable[Row[Texts]], *, is_own: bool) -> None:
        self._lookup = Lookup(Row(row.identity, _make_row(*row.value)) for row in rows)
        self._is_own = is_own

    def find(self, sample: Identity) -> Match[CaptionRow] | None:
        """Returns the row of a sample, or None. Raises `Rejected` if the image differs, or several rows disagree."""
        found = self._lookup.find_own(sample) if self._is_own else self._lookup.find_other(sample)
        if found is not None and isinstance(fault := found.row.value.captions, Rejected):
            raise Rejected(fault.reason, f"its captions: {fault.detail}")
        return found


def _make_row(captions: str | Rejected | None, metadata: str | Rejected | None) -> CaptionRow:
    return CaptionRow(captions or "", metadata if isinstance(metadata, str) and metadata else "{}")


class CaptionSet:
    """Opens a set that `shardloom render` wrote (`is_own`), or a folder of Parquet files in a published BLIP3 layout.

    `revision` identifies the state of the set by the hashes of its files, or by their sizes if it is not `is_own`.
    Raises `UsageError` for a folder without captions.
    """

    def __init__(self, url: str) -> None:
        self.folder = Folder(url)
        self.is_own = self.folder.exists(MANIFESTS)
        self.hashes: dict[str, str] = {}  # of the files of an own set
        self._checked: set[str] = set()  # files with the bytes of their hashes
        self._made_from: dict[str, dict[str, int]] = {}  # file -> hash -> bytes of its inputs, as the image shard
        if self.is_own:
            self.stored_recipe = read_stored_recipe(self.folder)
            if self.stored_recipe.get("kind") != RenderRecipe.kind:
                raise UsageError(
                    f"{url} is not a caption set: its kind is {format_value(self.stored_recipe.get('kind'))}; "
                    "pass a render set"
                )
            check_stored_recipe(self.stored_recipe, self.folder.resolve_path(RECIPE_FILE))
            sizes = {}
            for manifest in read_manifests(self.folder).values():
                for out in manifest.outputs:
                    if out.path == f"{DATA}/{manifest.name}.parquet":
                        sizes[out.path], self.hashes[out.path] = out.size, out.sha256
                        self._made_from[out.path] = {file.sha256: file.size for file in manifest.inputs}
        else:
            sizes = {name: self.folder.get_size(name) for name in self.folder.list_files() if name.endswith(".parquet")}
            for name in sizes:
                if self.folder.is_local and not self.folder.get_local_path(name).is_file():
                    raise UsageError(f"{self.folder.resolve_path(name)} is not a regular file")
        if not sizes:
            raise UsageError(f"{url} holds no captions (*.parquet)")
        self.files = sorted(sizes)
        self.family = self._find_own_family() if self.is_own else self._detect_family()
        if (source := self.family.ingested_as) is not None:
            raise UsageError(f"{url} holds {self.family.name}, no captions: `shardloom ingest {source}` reads it")
        state = [[name, sizes[name], self.hashes.get(name)] for name in self.files]
        digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
        self.revision = InputFile(path=url, size=sum(sizes.values()), sha256=digest)

    def resolve_recipe(self, recipe: ShardRecipe) -> ShardRecipe:
        """Returns the recipe with the name of the source and the choice of caption (`raw_caption`) filled in.

        Raises `UsageError` if the set does not contain the chosen caption.
        """
        with_raw = self._find_default() if recipe.raw_caption is None else recipe.raw_caption
        raw = "with" if with_raw else "without"
        name, numbers = self.family.name, self.family.granularities
        if recipe.granularity not in numbers:
            raise UsageError(f"granularity: {name} captions have 0 to {numbers[-1]}, not {recipe.granularity}")
        if self.is_own and recipe.granularity not in self.stored_recipe["granularities"]:
            has = format_value(self.stored_recipe["granularities"]).strip("[]")
            raise UsageError(f"granularity: {self.folder.url} holds {has} and not {recipe.granularity}")
        if self.is_own and self.stored_recipe["raw_caption"] not in (raw, "both"):
            bare = ", or take its bare lists with --no-raw-caption" if recipe.raw_caption is None and with_raw else ""
            remedy = f": render it with --raw-caption both{bare}"
            raise UsageError(f"raw_caption: {self.folder.url} holds no captions {raw} the alt text{remedy}")
        return recipe.model_copy(update={"source": recipe.source or self.family.source, "raw_caption": with_raw})

    def _find_default(self) -> bool | None:
        """Returns whether to take the captions that begin with the alt text: those of sets that wrote places into it.

        Returns None for a set that does not say what it wrote them into: this is decided for each image.
        """
        if self.is_own:
            return self.family.fills_captions and not any(
                self.stored_recipe.get(name) for name in ("caption_from", "caption_name")
            )
        if not self.family.fills_captions:
            return False
        with self.folder.open(self.files[0]) as file:  # a copy of a rendered set says so in its metadata
            metadata = read_parquet_schema(file, self.folder.resolve_path(self.files[0])).metadata or {}
        return metadata[b"base_caption"] == ALT_TEXT.encode() if b"base_caption" in metadata else None

    def guess_file(self, shard: InputShard) -> str | None:
        """Guesses by size which file contains the captions of a shard: the one with its name, else the first match.

        Returns None if no shard of this size was rendered, so that no file can be made from this shard.
        """
        size = shard.get_size()
        return self._pick_file(shard.name, (name for name, made in self._made_from.items() if size in made.values()))

    def find_file(self, shard: str, sha256: str) -> str | None:
        """Returns the file with all captions of the shard with these bytes, even if it was renamed; None: no file."""
        return self._pick_file(shard, (name for name, made in self._made_from.items() if sha256 in made))

    def read_file(self, file: str, shard: str) -> CaptionLookup:
        """Reads the captions that were rendered from a shard; `shard` is its present name."""
        data = read_output(self.folder, file, self.hashes[file])
        table = read_table(io.BytesIO(data), [*IDENTITY_COLUMNS, *self._text_columns])
        identities = zip(*(table[name].to_pylist() for name in IDENTITY_COLUMNS), strict=True)
        texts = zip(*map(functools.partial(_read_column, table), self._text_columns), strict=True)
        rows = (
            Row(Identity(shard, key, sha256, uid, url), said)
            for (key, uid, url, sha256), said in zip(identities, texts, strict=True)
        )
        return CaptionLookup(rows, is_own=True)

    def look_up_samples(self, samples: Collection[Identity]) -> CaptionLookup:
        """Searches the whole set for some samples.

        This is slow for a large own set; it is not needed if the set was rendered from annotations of these shards.
        """
        return CaptionLookup(self._search_rows(samples), is_own=self.is_own)

    @property
    def _text_columns(self) -> tuple[str, str]:
        """The columns that are joined with the images; not all layouts have the second."""
        return self.family.caption_column, "metadata"

    def _pick_file(self, shard: str, files: Iterable[str]) -> str | None:
        return min(files, key=lambda name: (name != f"{DATA}/{shard}.parquet", name), default=None)

    def _find_own_family(self) -> CaptionFamily:
        """Returns the caption family that the set was rendered with. Raises `UsageError` if it is not registered."""
        name = self.stored_recipe.get("family", "ocr")
        if name not in FAMILIES.list_names():
            raise UsageError(
                f"{self.folder.url} holds captions of the family {format_value(name)}, which is not known here: "
                "install what declares it, or pass --trust-code package.module:Name"
            )
        return FAMILIES.find(name)

    def _detect_family(self) -> CaptionFamily:
        """Detects the family of a published set by its first captions: OCR has JSON objects, grounding Python lists."""
        for name in self.files:
            try:
                with self.folder.open(name) as file:
                    for batch in iterate_batches(open_parquet(file, self.folder.resolve_path(name)), 64, ["captions"]):
                        if family := _guess_batch_family(batch):
                            return family
                        break
            except (pa.ArrowException, NotParquet) as error:
                raise ShardloomError(
                    f"cannot read captions in {self.folder.resolve_path(name)}: {to_one_line(error)}"
                ) from None
        return FAMILIES.find("ocr")

    def _search_rows(self, samples: Collection[Identity]) -> Iterator[Row[Texts]]:
        is_known = False
        for file in self.files:  # one by one, because files of an object store are held in memory
            if self.is_own and file not in self._checked:
                check_output(self.folder, file, self.hashes[file])
                self._checked.add(file)
            shard = file.removeprefix(f"{DATA}/").removesuffix(".parquet") if self.is_own else None
            rows = find_rows(self.folder, file, self._text_columns, samples, shard)
            is_known = is_known or rows is not None
            yield from rows or []
        if not is_known:
            columns = f"`{self.family.caption_column}` and one of `uid`, `url` and `sha256`"
            raise UsageError(f"{self.folder.url}: the files lack the columns {columns}")


def _read_column(table: pa.Table, name: str) -> list[str | None]:
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def check_stored_recipe(stored: dict[str, Any], path: str) -> None:
    """Raises `UsageError` if the recipe of a set lacks what a join needs: it was cut, or written by hand."""
    granularities, family = stored.get("granularities"), stored.get("family", "ocr")
    is_listed = isinstance(granularities, list) and all(isinstance(number, int) for number in granularities)
    if not is_listed or not isinstance(stored.get("raw_caption"), str) or not isinstance(family, str):
        raise UsageError(
            f"{path} is damaged: it lacks `granularities` or `raw_caption`, or they are of a wrong type; "
            "the command that made the set writes it again"
        )


def _guess_batch_family(batch: pa.RecordBatch) -> CaptionFamily | None:
    """Returns the family of the first captions. Raises `NotParquet` if none of them is UTF-8."""
    if not batch.schema.names:
        return None
    texts = to_text(batch["captions"])
    if texts.null_count == len(texts) > batch["captions"].null_count:
        raise NotParquet(f"none of its first {len(texts)} captions is UTF-8")
    return next((family for text in texts.to_pylist() if text and (family := guess_family(text))), None)


def guess_family(captions: str) -> CaptionFamily | None:
    """Returns the family whose list of captions begins like this string; None for an empty list or no list."""
    opening = re.match(r"\s*\[\s*(\S)", captions)
    families = FAMILIES.shipped.values() if opening else ()
    return next((family for family in families if opening and opening[1] in family.item_openings), None)
