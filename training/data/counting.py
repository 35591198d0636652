"""Counts the tokens of each part of a source's samples where the index lacks them, by reading the texts alone.

An index lacks them when a rule changes the texts, and when the set was made with another tokenizer or without one.
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.mixture.sources import SourceSet, SourceShard, read_indexes
from schemas.errors import ShardloomError, to_one_line
from schemas.json_text import MAX_JSON, parse_object
from schemas.output_set.shard_index import INDEX_SCHEMA, get_tokenizer
from schemas.storage.parquet import UnreadableParquet, iterate_batches, open_parquet, read_parquet_schema
from training.data.options import SourceTextOptions
from training.data.texts import clean_document_text, read_alt_text, select_caption
from training.model.tokens import TextTokenizer

NO_CAPTION, UNREADABLE, NO_TEXT = -1, -2, -3
"""Why a sample has no length: it has no caption that the rule asks for, it can't be read, or it has no text."""

PartTokens = list[int | None]
"""Tokens of each part; None for an image."""

Counts = list[PartTokens | int]
"""The tokens of each sample of a shard, or the reason why it has none."""

_INDEX_COLUMNS = ["key", "kind", "members"]
_CAPTION_COLUMNS = ["key", "text", "alt_text", "captions"]
_DOCUMENT_COLUMNS = ["texts", "metadata"]


@dataclass(frozen=True, slots=True)
class PartTokenCounter:
    """Counts the tokens of a shard's samples. It can be pickled, so that other processes can use it."""

    tokenizer: TextTokenizer
    rule: SourceTextOptions
    seed: int

    def count(self, shard: SourceShard, index: pa.Table) -> "Counts":
        """Counts the tokens of each sample's parts, or gives the reason why there are none.

        Raises `ShardloomError` when the shard can't be read, or has another number of samples than its index.
        """
        is_tar = shard.data.path.endswith(".tar")
        found = list(
            map(self._count_tokens, _read_tar_parts(self, shard, index) if is_tar else _read_parquet_parts(self, shard))
        )
        if len(found) != index.num_rows:
            raise ShardloomError(f"{shard.path} does not match its index: verify the set")
        return found

    def build_caption_parts(self, key: str, text: str, details: dict[str, Any]) -> list[str | None] | None:
        """Returns the texts of a captioned image, with None in place of the image; None: the rule takes no caption."""
        found = select_caption(
            key, text, details.get("alt_text") or "", details.get("captions") or "[]", self.rule, self.seed
        )
        return None if found is None else [None, found] if found else [None]

    def build_document_parts(self, texts: Iterable[str | None], metadata: str) -> list[str | None]:
        """Returns the texts of a document, with None in place of each image."""
        alt_text = read_alt_text(metadata) if self.rule.strip_filler else ""
        return [text and clean_document_text(text, alt_text, self.rule) for text in texts]

    def _count_tokens(self, parts: list[str | None] | int | None) -> PartTokens | int:
        if parts is None or isinstance(parts, int):
            return NO_CAPTION if parts is None else parts
        return [None if part is None else len(self.tokenizer.encode(part)) for part in parts]


def count_part_tokens(counter: PartTokenCounter, source: SourceSet) -> Iterator[tuple[pa.Table, NDArray[np.int32]]]:
    """Yields for each shard, in order, its index with the tokens of all parts, and per sample 0 or a reason code.

    The reason code, such as `NO_CAPTION`, says why a sample has no tokens. Several processes count when the source has
    several shards.
    """
    with contextlib.ExitStack() as stack:
        pool, most = None, 1
        if len(source.shards) > 1 and not _has_token_counts(counter, _read_index_schema(source.shards[0])):
            most = min(len(source.shards), len(os.sched_getaffinity(0)))
            pool = stack.enter_context(ProcessPoolExecutor(most, get_context("fork")))
            pool.submit(os.getpid).result()  # forks all workers before any thread reads indexes
        ahead: deque[tuple[pa.Table, Future[Counts] | Counts | None]] = deque()
        for shard, index in zip(source.shards, read_indexes(source), strict=True):
            counts: Future[Counts] | Counts | None = None
            if not _has_token_counts(counter, index.schema) or index["part_tokens"].null_count:
                given = index.select(_INDEX_COLUMNS)
                counts = counter.count(shard, given) if pool is None else pool.submit(counter.count, shard, given)
            ahead.append((index, counts))
            if len(ahead) > 2 * most:
                yield _add_counts(*ahead.popleft())
        for held in ahead:
            yield _add_counts(*held)


def _has_token_counts(counter: PartTokenCounter, schema: pa.Schema) -> bool:
    """Returns whether an index counts the tokens of the texts that are trained on."""
    return counter.rule.is_stored and get_tokenizer(schema) == counter.tokenizer.fingerprint


def _read_index_schema(shard: SourceShard) -> pa.Schema:
    shard.folder.check_inside(shard.index.path)
    with shard.folder.open(shard.index.path) as file:
        return read_parquet_schema(file, shard.folder.resolve_path(shard.index.path))


def _add_counts(index: pa.Table, counts: Future[Counts] | Counts | None) -> tuple[pa.Table, NDArray[np.int32]]:
    if counts is None:
        return index, np.zeros(index.num_rows, np.int32)
    found = counts.result() if isinstance(counts, Future) else counts
    tokens = pa.array([None if isinstance(parts, int) else parts for parts in found], pa.list_(pa.int32()))
    reasons = np.asarray([parts if isinstance(parts, int) else 0 for parts in found], np.int32)
    return index.set_column(
        index.schema.get_field_index("part_tokens"), INDEX_SCHEMA.field("part_tokens"), tokens
    ), reasons


def _read_tar_parts(
    counter: PartTokenCounter, shard: SourceShard, index: pa.Table
) -> Iterator[list[str | None] | int | None]:
    name = shard.data.path
    shard.folder.check_inside(name)
    with shard.folder.open(name) as file:
        end = file.seek(0, os.SEEK_END)

        def read_member(row: dict[str, Any], ending: str) -> bytes:
            found = next((one for one in row["members"] if one["ending"] == ending), None)
            # `read` allocates memory before it reads, so check the size first
            if found is None or not 0 <= found["offset"] <= found["offset"] + found["size"] <= end:
                raise ValueError("the member is not in the tar")
            file.seek(found["offset"])
            return file.read(int(found["size"]))

        for row in index.to_pylist():
            try:
                if row["kind"] != "captioned_image":
                    content = parse_object(read_member(row, "json"), "it", MAX_JSON)
                    yield counter.build_document_parts(
                        [part.get("text") for part in content["parts"]], content["metadata"]
                    )
                    continue
                details = {} if counter.rule.is_stored else parse_object(read_member(row, "json"), "it", MAX_JSON)
                # By the key in the index, because a mixture gives new keys and does not change the files.
                yield counter.build_caption_parts(row["key"], read_member(row, "txt").decode(), details)
            except (ValueError, KeyError, TypeError, AttributeError):
                yield UNREADABLE


def _read_parquet_parts(counter: PartTokenCounter, shard: SourceShard) -> Iterator[list[str | None] | int | None]:
    shard.folder.check_inside(shard.data.path)
    with shard.folder.open(shard.data.path) as file:
        try:
            table = open_parquet(file, shard.path)
            is_captions = "texts" not in table.schema.names
            for batch in iterate_batches(table, 1024, _CAPTION_COLUMNS if is_captions else _DOCUMENT_COLUMNS):
                for row in batch.to_pylist():
                    if is_captions:
                        yield counter.build_caption_parts(row["key"], row["text"], row)
                    else:
                        yield counter.build_document_parts(row["texts"], row["metadata"])
        except (pa.ArrowException, UnreadableParquet, ValueError) as error:
            raise ShardloomError(f"cannot read {shard.path}: {to_one_line(error)}") from None
