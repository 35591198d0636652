"""Joins the parts of each shard once all its chunks are done, and commits the shard."""

import time

from pipelines.annotate.messages import Chunk, Message, ShardEnd, WrittenPart
from pipelines.annotate.parts import join_parts, remove_parts
from pipelines.cluster.failure import Failure
from pipelines.inputs.shards import InputShard
from pipelines.output.job import OutputCommitter
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.activity import report_activity
from schemas.errors import ShardloomError
from schemas.output_set.layout import PARTS
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count


class ShardCommitter:
    """Takes the graph's results in any order and commits each shard once all its chunks are written."""

    def __init__(self, recipe: AnnotateRecipe, output: Folder, committer: OutputCommitter) -> None:
        self.recipe, self.output, self.committer = recipe, output, committer
        self.recipe_sha256 = recipe.compute_sha256()
        self.chunks: dict[str, set[int]] = {}
        self.ends: dict[str, ShardEnd] = {}
        self.committed: set[str] = set()
        self.bytes_skipped = self.bytes_done = 0  # of the parts that existed, and of those written in this run

    def handle_result(self, message: Message) -> None:
        """Takes one result of the graph, and commits its shard if that is complete.

        Raises `ShardloomError` for a `Failure`, or if an engine fails on more than 10 images and more than the share
        `max_engine_errors`.
        """
        match message:
            case Failure():
                raise message.to_error()
            case WrittenPart(shard=shard, index=index):
                self.chunks.setdefault(shard, set()).add(index)
                self._count(message)
            case ShardEnd(shard=shard):
                self.ends[shard] = message
            case Chunk():
                raise AssertionError("the graph's last stage forwarded a chunk")
        end = self.ends.get(shard)
        if end is not None and len(self.chunks.get(shard, ())) == len(end.digests):
            started = time.monotonic()
            with report_activity(f"annotate: committing {shard}"):
                self.committer.commit(join_parts(self.output, end, self.recipe_sha256))
                remove_parts(self.output, end)
            self.committer.times.commit_seconds += time.monotonic() - started
            self.committer.times.shards += 1
            self.committed.add(shard)
            del self.ends[shard]
            self.chunks.pop(shard, None)
        self.committer.times.resent += message.retries + take_retry_count()

    def check_complete(self, shards: list[InputShard]) -> None:
        """Raises `ShardloomError` if a shard is not committed; call it when the graph has ended."""
        if missing := [shard.name for shard in shards if shard.name not in self.committed]:
            raise ShardloomError(
                f"the run ended without committing {len(missing)} shards, such as {', '.join(missing[:5])}: "
                "rerun the command"
            )

    def show_bytes(self, finished: int) -> None:
        """Raises the progress to the bytes that the last pool has `finished`, of whole chunks or not.

        A part of this run counts there already, unless the ledger has lost its counts.
        """
        self.committer.progress.reach(self.bytes_skipped + max(finished, self.bytes_done))

    def _count(self, written: WrittenPart) -> None:
        if not written.rows:
            self.bytes_skipped += written.size
            self.committer.progress.skip(written.size)
            return
        self.bytes_done += written.size
        self.show_bytes(0)
        times = self.committer.times
        times.add_chunk(written.rows, written.reasons, written.engine_errors, written.size)
        for engine, errors in times.engine_errors.items():
            rows = sum(times.rows.values())
            if errors > max(10, self.recipe.max_engine_errors * rows):
                raise ShardloomError(
                    f"the {engine} engine failed on {errors} of {rows} images: see the columns `failures` and "
                    f"`detail` of the files in {self.output.resolve_path(PARTS)}, or raise max_engine_errors"
                )
