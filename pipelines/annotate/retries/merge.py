"""Merges the rows that were annotated again into the outputs of their shard, in the order of the input."""

import io
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.annotate.chunks import READ_STAGE
from pipelines.annotate.messages import ShardEnd
from pipelines.annotate.parts import (
    VERDICT_NAMES,
    check_engines_agree,
    count_annotations,
    list_part_paths,
)
from pipelines.annotate.retries.rows import RetriedRows
from pipelines.output.replacement import open_staging
from pipelines.output.writer import encode_parquet, write_output
from schemas.errors import ShardloomError
from schemas.output_set.layout import DATA, QUARANTINE
from schemas.output_set.manifest import HIDDEN_FILES, UNREADABLE_METADATA, Manifest
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table


def merge_parts(output: Folder, end: ShardEnd, retried: RetriedRows) -> Manifest:
    """Writes the outputs of a shard as they would be had its retried rows been annotated so at once.

    They are staged, to replace those of the set.
    """
    before = retried.open(output, end.shard)
    tables = [read_table(io.BytesIO(part)) for part in output.map_files(output.read, list_part_paths(end))]
    check_engines_agree(output, end.shard, tables)
    again = pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).combine_chunks()
    kept = pa.schema([field for field in tables[0].schema if field.name not in VERDICT_NAMES])
    is_bad = pc.is_valid(again["reason"])
    if before.good is not None and before.good.schema.names != kept.names:
        raise ShardloomError(f"{output.url} has other columns than this version writes: annotate it into a new folder")
    old = [] if before.good is None else [_drop_keys(before.good, before.keys).cast(kept)]
    good = pa.concat_tables([*old, again.filter(pc.invert(is_bad)).select(kept.names).cast(kept)]).combine_chunks()
    # The first run of a key is the one that was retried: a later run of it is a fault of the reader.
    rejected = again.filter(is_bad).select(QUARANTINE_SCHEMA.names).cast(QUARANTINE_SCHEMA)
    bad = pa.concat_tables([rejected, _drop_rejected(before.bad, before.keys)]).combine_chunks()
    places = arrange(end.chunk_keys, good["key"].to_pylist(), bad["key"].to_pylist())
    groups = [good.take(pa.array(chunk, pa.int64())) for chunk, _ in places]
    rejected_groups = [bad.take(pa.array(chunk, pa.int64())) for _, chunk in places]
    staged = open_staging(output)
    data = write_output(staged, f"{DATA}/{end.shard}.parquet", encode_parquet(groups, kept), good.num_rows)
    quarantine = encode_parquet(rejected_groups, QUARANTINE_SCHEMA)
    found = {HIDDEN_FILES: end.hidden, UNREADABLE_METADATA: end.unreadable}
    manifest = Manifest.build(
        end.shard,
        before.manifest.recipe_sha256,
        inputs=before.manifest.inputs,
        rows_in=end.samples,
        data=data,
        others=[write_output(staged, f"{QUARANTINE}/{end.shard}.parquet", quarantine, bad.num_rows)],
        reasons=bad["reason"].to_pylist(),
        counts=count_annotations(groups) | {name: count for name, count in found.items() if count},
        fingerprints=before.manifest.fingerprints,
        damage=end.damage,
        left_out=end.left_out,
    )
    return manifest.model_copy(update={"attempts": before.manifest.attempts + 1})


def arrange(
    chunks: Sequence[Sequence[str]], good: Sequence[str], bad: Iterable[str]
) -> list[tuple[list[int], list[int]]]:
    """Returns for each chunk the places of its rows in `good` and in `bad`, in the order of the chunk's keys.

    All three are keys. A key is in `good` once. Where a key occurs again in the input, its later rows are in `bad`, in
    their order.
    """
    good_places = {key: place for place, key in enumerate(good)}
    bad_places: dict[str, deque[int]] = defaultdict(deque)
    for number, key in enumerate(bad):
        bad_places[key].append(number)
    arranged = []
    for keys in chunks:
        kept: list[int] = []
        rejected: list[int] = []
        for key in keys:
            if (place := good_places.pop(key, None)) is not None:
                kept.append(place)
            else:
                rejected.append(bad_places[key].popleft())
        arranged.append((kept, rejected))
    return arranged


def _drop_keys(table: pa.Table, keys: Iterable[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["key"], pa.array(sorted(keys), pa.string()))))


def _drop_rejected(table: pa.Table, keys: frozenset[str]) -> pa.Table:
    """Returns the quarantined rows that were not retried; those of the reader stay, even with a key that was."""
    is_retried = pc.and_(
        pc.is_in(table["key"], pa.array(sorted(keys), pa.string())), pc.not_equal(table["stage"], READ_STAGE)
    )
    return table.filter(pc.invert(is_retried))
