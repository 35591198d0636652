"""Writes finished chunks as parts, one Parquet file each, and joins the parts of a shard into its outputs."""

import io
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curation.engines.kinds import KINDS
from curation.engines.stages import StageName
from pipelines.annotate.captions.columns import count_captions, join_captions
from pipelines.annotate.chunks import VERDICT_COLUMNS
from pipelines.annotate.messages import Chunk, ShardEnd
from pipelines.output.writer import encode_parquet, write_output
from schemas.errors import ShardloomError, StorageError
from schemas.output_set.layout import DATA, PARTS, QUARANTINE
from schemas.output_set.manifest import HIDDEN_FILES, UNREADABLE_METADATA, InputFile, Manifest
from schemas.records.annotation import annotation_schema
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_parquet_schema, read_table

VERDICT_NAMES = [field.name for field in VERDICT_COLUMNS]
COUNTED_COLUMNS = {"text_lines": "ocr", "tags": "tags", "boxes": "boxes", "failures": "failures"}
ENGINE_PREFIX = "engine."  # prefix of the metadata keys that hold fingerprints


def get_part_name(shard: str, index: int) -> str:
    """Returns the file name of a chunk's part."""
    return f"{shard}-{index:06d}.parquet"


def get_slice_name(shard: str, index: int, start: int) -> str:
    """Returns the file name of a slice of a chunk's part."""
    return f"{shard}-{index:06d}+{start:06d}.parquet"


def write_part(output: Folder, chunk: Chunk, recipe_sha256: str, stages: Sequence[StageName] = ()) -> None:
    """Writes a finished chunk or slice, kept and quarantined rows in input order. `join_parts` separates them.

    `stages` are those of the recipe, which gives captions their order.
    """
    assert chunk.table is not None
    table = join_captions(chunk.table, stages)
    columns = [kind.column for kind in KINDS.values() if kind.name in table.column_names]
    wanted = pa.schema([*annotation_schema(columns), *VERDICT_COLUMNS])
    metadata = (chunk.table.schema.metadata or {}) | {
        b"digest": chunk.digest.encode(),
        b"recipe": recipe_sha256.encode(),
    }
    table = table.select(wanted.names).cast(wanted).replace_schema_metadata(metadata)
    name = get_part_name(chunk.shard, chunk.index)
    if chunk.of_rows:
        name = get_slice_name(chunk.shard, chunk.index, chunk.start)
    output.write(f"{PARTS}/{name}", encode_parquet([table], table.schema))


def join_slices(output: Folder, shard: str, index: int, starts: list[int]) -> None:
    """Joins the slices of a chunk, by their first rows in order, into its part, and removes them.

    Raises `ShardloomError` when different engines made them.
    """
    paths = [f"{PARTS}/{get_slice_name(shard, index, start)}" for start in starts]
    tables = [read_table(io.BytesIO(data)) for data in output.map_files(output.read, paths)]
    check_engines_agree(output, shard, tables)
    table = pa.concat_tables(tables).combine_chunks()
    output.write(f"{PARTS}/{get_part_name(shard, index)}", encode_parquet([table], table.schema))
    output.map_files(output.remove, paths)


def is_valid_part(output: Folder, name: str, digest: str, recipe_sha256: str) -> bool:
    """Returns whether the part is readable and was made from these samples by this recipe.

    A run that shares the set may have removed it since it was listed, as it committed the shard.
    """
    try:
        metadata = read_parquet_schema(io.BytesIO(output.read(f"{PARTS}/{name}")), name).metadata or {}
    except UnreadableParquet:
        return False
    except StorageError:
        if output.exists(f"{PARTS}/{name}"):
            raise
        return False
    return metadata.get(b"digest") == digest.encode() and metadata.get(b"recipe") == recipe_sha256.encode()


def read_fingerprints(output: Folder, name: str) -> dict[str, EngineFingerprint]:
    """Returns the fingerprints of the engines that made a part, by kind; empty when the part can't be read.

    A run that shares the set may have removed it, as it committed the shard.
    """
    try:
        return _parse_fingerprints(read_parquet_schema(io.BytesIO(output.read(f"{PARTS}/{name}")), name))
    except (UnreadableParquet, StorageError):
        return {}


def join_parts(output: Folder, end: ShardEnd, recipe_sha256: str) -> Manifest:
    """Joins a shard's parts into its outputs, in the order of the input. They take effect once the manifest is written.

    Raises `ShardloomError` when different engines made the parts.
    """
    tables = [read_table(io.BytesIO(part)) for part in output.map_files(output.read, list_part_paths(end))]
    good = [table.filter(pc.is_null(table["reason"])).drop_columns(VERDICT_NAMES) for table in tables]
    bad = [table.filter(pc.is_valid(table["reason"])).select(QUARANTINE_SCHEMA.names) for table in tables]
    rows_out, rows_bad = sum(t.num_rows for t in good), sum(t.num_rows for t in bad)
    schema = tables[0].schema if tables else None
    check_engines_agree(output, end.shard, tables)
    data = None
    if schema is not None:
        kept = pa.schema([field for field in schema if field.name not in VERDICT_NAMES])
        table = encode_parquet([table.cast(kept) for table in good], kept)
        data = write_output(output, f"{DATA}/{end.shard}.parquet", table, rows_out)
    found = {HIDDEN_FILES: end.hidden, UNREADABLE_METADATA: end.unreadable}
    quarantine = encode_parquet([table.cast(QUARANTINE_SCHEMA) for table in bad], QUARANTINE_SCHEMA)
    return Manifest.build(
        end.shard,
        recipe_sha256,
        inputs=[InputFile(path=end.path, size=end.size, sha256=end.sha256)],
        rows_in=end.samples,
        data=data,
        others=[write_output(output, f"{QUARANTINE}/{end.shard}.parquet", quarantine, rows_bad)],
        reasons=[reason for table in bad for reason in table["reason"].to_pylist()],
        counts=count_annotations(good) | {name: count for name, count in found.items() if count},
        fingerprints=_parse_fingerprints(schema) if schema is not None else {},
        damage=end.damage,
        left_out=end.left_out,
    )


def remove_parts(output: Folder, end: ShardEnd) -> None:
    """Removes the parts of a committed shard."""
    output.map_files(output.remove, list_part_paths(end))


def list_part_paths(end: ShardEnd) -> list[str]:
    """Returns the paths of a shard's parts, in the order of the input."""
    return [f"{PARTS}/{get_part_name(end.shard, index)}" for index in range(len(end.digests))]


def check_engines_agree(output: Folder, shard: str, tables: list[pa.Table]) -> None:
    """Raises `ShardloomError` if a shard's chunks were made by different engines, as can happen on mixed hardware."""
    made_by = {
        json.dumps([fingerprint.model_dump() for fingerprint in _parse_fingerprints(table.schema).values()])
        for table in tables
    }
    if len(made_by) > 1:
        raise ShardloomError(
            f"{shard} was annotated by different engines ({' and '.join(sorted(made_by))[:600]}): give all workers "
            f"the same device, precision and versions, then remove {output.resolve_path(PARTS)} and rerun the command"
        )


def count_annotations(tables: list[pa.Table]) -> dict[str, int]:
    """Returns the counts of a manifest, summed over the tables: of annotations, failures, empty captions and tokens."""
    if not tables:
        return {}
    table = pa.concat_tables(tables)
    found = {name: pc.list_value_length(table[of]) for name, of in COUNTED_COLUMNS.items() if of in table.column_names}
    counted = {"empty_captions": pc.equal(table["caption"], "")} | found
    counts = {name: pc.sum(values).as_py() or 0 for name, values in counted.items()}
    return counts | (count_captions(table) if CAPTIONS_COLUMN.name in table.column_names else {})


def _parse_fingerprints(schema: pa.Schema) -> dict[str, EngineFingerprint]:
    return {
        key.decode().removeprefix(ENGINE_PREFIX): EngineFingerprint.model_validate_json(value)
        for key, value in sorted((schema.metadata or {}).items())
        if key.startswith(ENGINE_PREFIX.encode())
    }
