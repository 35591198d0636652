"""Lists the distinct URLs of a set's images and cuts them into parts of equal size, as a function of the input alone.

The URLs are sorted by a hash. A part therefore mixes all hosts, so that none receives thousands of requests in a row,
and the part of a URL is found from the URL alone.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import polars as pl

from curation.sources import SOURCES, SourceReader
from pipelines.ingest.row_watch import RETRIES, RowWatch
from pipelines.ingest.unit import IngestUnit, get_images, read_row
from pipelines.inputs.source_files import iterate_items
from pipelines.output.job import Context
from pipelines.recipes.ingest import IngestRecipe
from pipelines.terminal.progress import Progress
from schemas.output_set.layout import PARTS
from schemas.output_set.manifest import seal, unseal
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder
from schemas.web_address import is_web_address

URLS = "downloads/urls"
SORTED_AT_ONCE = 5_000_000  # URLs in memory, some 150 bytes each

_LIST, _FOUND = "downloads/urls.json", f"{PARTS}/urls"


@dataclass(frozen=True, slots=True)
class UrlPart:
    """Represents a range of the sorted URLs, which becomes one img2dataset shard."""

    number: int
    urls: int
    first: int  # the hash of its first URL
    sha256: str  # of its file

    @property
    def name(self) -> str:
        """Returns the name of its files, without ending."""
        return f"downloaded_{self.number:08d}"


def list_url_parts(
    recipe: IngestRecipe, context: Context, units: list[IngestUnit], watch: RowWatch, progress: Progress
) -> list[UrlPart]:
    """Writes and returns the parts, or reads the list of an earlier run if input and part size are unchanged."""
    assert recipe.download is not None
    output = context.output
    size = recipe.download.urls_per_shard
    state = json.dumps([size, recipe.source, [[unit.row_range.label, unit.row_range.byte_size] for unit in units]])
    revision = hashlib.sha256(state.encode()).hexdigest()
    if output.exists(_LIST):
        with contextlib.suppress(ValueError):
            held = unseal(output.read(_LIST))
            if held["revision"] == revision:
                return [UrlPart(**part) for part in held["parts"]]
    total = 0
    work = functools.partial(write_unit_addresses, recipe, SOURCES.find(recipe.source), output, watch)
    for count in context.runner.map(work, units, RETRIES):
        total += count
        progress.advance(1)
        progress.show(total)
    output.clear(URLS)
    parts = []
    for number, frame in enumerate(_cut_parts(output, total, size)):
        data = _encode_parquet(frame.select("url"))
        part = UrlPart(number, frame.height, frame["hash"][0], hashlib.sha256(data).hexdigest())
        output.write(f"{URLS}/{part.name}.parquet", data)
        parts.append(part)
    output.clear(_FOUND)
    output.write(_LIST, seal({"revision": revision, "parts": [asdict(part) for part in parts]}))
    return parts


def write_unit_addresses(
    recipe: IngestRecipe, reader: SourceReader, output: Folder, watch: RowWatch, unit: IngestUnit
) -> int:
    """Writes the distinct URLs of a unit's images, sorted by hash. Returns their number."""
    urls: set[str] = set()
    rows = iterate_items(reader, unit.row_range)
    watched = watch.watch_rows("addresses", unit.name, unit.row_range, rows)
    for item in itertools.compress(watched, unit.row_range.mark_rows()):
        parsed = read_row(reader, recipe, item, watch)
        if not isinstance(parsed, Rejected):
            urls.update(image.source for image in get_images(parsed) if isinstance(image.source, str))
    found = sorted((hash_address(url), url) for url in urls if is_web_address(url))
    frame = pl.DataFrame(found, {"hash": pl.UInt64, "url": pl.String}, orient="row")
    output.write(f"{_FOUND}/{unit.number:08d}.parquet", _encode_parquet(frame))
    return len(found)


def hash_address(address: str) -> int:
    """Returns the 64-bit hash (BLAKE2b) by which URLs are sorted."""
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest(), "big")


def _cut_parts(output: Folder, total: int, size: int) -> Iterator[pl.DataFrame]:
    """Yields all distinct URLs in the order of their hashes, in frames of at most `size`.

    It sorts one range of hashes at a time, of about `SORTED_AT_ONCE` URLs, so that memory is bounded.
    """
    files = output.list_files(_FOUND)
    shares = total // SORTED_AT_ONCE + 1
    bounds = [(share << 64) // shares for share in range(shares + 1)]
    for first, end in itertools.pairwise(bounds):
        inside = pl.col("hash").is_between(pl.lit(first, pl.UInt64), pl.lit(end - 1, pl.UInt64))
        frames = (pl.read_parquet(io.BytesIO(output.read(f"{_FOUND}/{name}"))) for name in files)  # noqa: TID251  Shardloom's own file
        found = [frame.filter(inside) for frame in frames]
        if found:
            yield from pl.concat(found).unique().sort("hash", "url").iter_slices(size)


def _encode_parquet(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return sink.getvalue()
