"""Joins the parts of each shard once all its chunks are done, and commits the shard."""

import functools
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pipelines.annotate.messages import Chunk, Message, ShardEnd, WrittenPart
from pipelines.annotate.parts import join_parts, join_slices, remove_parts
from pipelines.cluster.failure import Failure
from pipelines.output.totals import RunTimes
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.activity import report_activity
from schemas.errors import ShardloomError
from schemas.output_set.layout import PARTS
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count


@dataclass(slots=True)
class BytesDone:
    """Counts the bytes of the samples in the parts that the committer knows of."""

    skipped: int = 0  # of the parts that existed
    written: int = 0  # of those written in this run
    uncommitted: int = 0  # of both, in shards that are not committed


class ShardCommitter:
    """Takes a graph's results in any order and commits each shard once all its chunks are written."""

    def __init__(
        self,
        recipe: AnnotateRecipe,
        output: Folder,
        commit: Callable[[Manifest], None],
        times: RunTimes,
        join: Callable[[Folder, ShardEnd], Manifest] | None = None,
    ) -> None:
        """`join` makes the outputs of a shard of its parts; by default as a run does that makes the set."""
        self.output, self.commit, self.times = output, commit, times
        self._join = join or functools.partial(join_parts, recipe_sha256=recipe.compute_sha256())
        self.chunks: dict[str, set[int]] = {}
        self.ends: dict[str, ShardEnd] = {}
        self.committed: set[str] = set()
        self.bytes = BytesDone()
        self.chunks_written = 0  # in this run
        self._slices: dict[tuple[str, int], dict[int, int]] = {}  # chunk -> the first row of each slice -> its rows
        self._uncommitted: Counter[str] = Counter()  # bytes by shard

    def handle_result(self, message: Message) -> None:
        """Takes one result of the graph, and commits its shard if that is complete.

        Raises `ShardloomError` for a `Failure`.
        """
        match message:
            case Failure():
                raise message.to_error()
            case WrittenPart(shard=shard):
                self._count(message)
                if self._is_whole(message):
                    self.chunks.setdefault(shard, set()).add(message.index)
                    self.chunks_written += bool(message.rows)
            case ShardEnd(shard=shard):
                self.ends[shard] = message
            case Chunk():
                raise AssertionError("the graph's last stage forwarded a chunk")
        end = self.ends.get(shard)
        if end is not None and len(self.chunks.get(shard, ())) == len(end.digests):
            self._commit_shard(end)
        self.times.resent += message.retries + take_retry_count()

    def _commit_shard(self, end: ShardEnd) -> None:
        started = time.monotonic()
        with report_activity(f"annotate: committing {end.shard}"):
            self.commit(self._join(self.output, end))
            remove_parts(self.output, end)
        self.times.commit_seconds += time.monotonic() - started
        self.times.shards += 1
        self.committed.add(end.shard)
        self._forget(end)

    def _forget(self, end: ShardEnd) -> None:
        """Drops what is known of a shard that this run has done with."""
        del self.ends[end.shard]
        self.chunks.pop(end.shard, None)
        self.bytes.uncommitted -= self._uncommitted.pop(end.shard, 0)

    def _is_whole(self, written: WrittenPart) -> bool:
        """Returns whether the part of the chunk is there; joins its slices once all are."""
        if not written.of_rows:
            return True
        slices = self._slices.setdefault((written.shard, written.index), {})
        slices[written.start] = written.rows
        if sum(slices.values()) < written.of_rows:
            return False
        del self._slices[written.shard, written.index]
        join_slices(self.output, written.shard, written.index, sorted(slices))
        return True

    def _count(self, written: WrittenPart) -> None:
        self._uncommitted[written.shard] += written.size
        self.bytes.uncommitted += written.size
        if not written.rows:
            self.bytes.skipped += written.size
            return
        self.bytes.written += written.size
        self.times.add_chunk(written.rows, written.reasons, written.engine_errors, written.size)
        self.times.tokens += written.tokens


def check_limits(recipe: AnnotateRecipe, output: Folder, times: RunTimes) -> None:
    """Raises `ShardloomError` where a run must end: it has used its tokens, or an engine fails too often.

    That is on more than 10 images and on more than `max_engine_errors` of all.
    """
    if recipe.run.max_total_tokens is not None and times.tokens >= recipe.run.max_total_tokens:
        raise ShardloomError(
            f"the run has used {times.tokens:,} tokens, of run.max_total_tokens {recipe.run.max_total_tokens:,}: "
            "finished work is kept; the same command resumes the run, and may use as many again"
        )
    for engine, errors in times.engine_errors.items():
        rows = sum(times.rows.values())
        if errors > max(10, recipe.max_engine_errors * rows):
            raise ShardloomError(
                f"the {engine} engine failed on {errors} of {rows} images: see the columns `failures` and "
                f"`detail` of the files in {output.resolve_path(PARTS)}, or raise max_engine_errors"
            )


def check_complete(missing: Collection[str]) -> None:
    """Raises `ShardloomError` if shards are not committed; call it with their names when all graphs have ended."""
    if missing:
        raise ShardloomError(
            f"the run ended without committing {len(missing)} shards, such as {', '.join(list(missing)[:5])}: "
            "rerun the command"
        )
