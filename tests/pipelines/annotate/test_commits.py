"""Shards are committed once all their parts are written, in whatever order they are told of."""

from pathlib import Path

import pytest

from pipelines.annotate.commits import BytesDone, ShardCommitter, check_complete, check_limits
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.messages import Chunk, ShardEnd, WrittenPart
from pipelines.cluster.failure import Failure
from pipelines.output.job import OutputCommitter
from pipelines.output.totals import RunTimes
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.holder import Holder
from schemas.output_set.layout import read_manifests
from schemas.output_set.lock import Lock
from tests.pipelines.support.shard_runs import ShardRun, members, write_tar

SIZE = 10_000_000  # bytes of all samples: more than there are


class Commits:
    """A committer, with the messages of a shard whose parts are written: three parts of 2, 2 and 1 images."""

    def __init__(self, folder: Path, **recipe: object) -> None:
        write_tar(folder / "00000000.tar", members())
        self.run = ShardRun(folder, **recipe)
        self.lock, self.times, self.progress = (
            Lock(self.run.output, Holder("x")),
            RunTimes(),
            Progress("annotate", SIZE),
        )
        committer = OutputCommitter(self.run.output, self.lock, self.progress, self.times)
        self.committer = ShardCommitter(self.run.recipe, self.run.output, committer.commit, self.times)
        self.view = RunView(self.progress, self.times, None, shards=1)
        *chunks, end = self.run.read()
        assert isinstance(end, ShardEnd)
        self.end, self.chunks = end, [chunk for chunk in chunks if isinstance(chunk, Chunk)]
        for chunk in self.chunks:
            self.run.write(chunk)
        rows = [chunk.table.num_rows for chunk in self.chunks if chunk.table is not None]
        self.parts = [WrittenPart("00000000", at, chunk.size, rows[at]) for at, chunk in enumerate(self.chunks)]

    def handle(self, *messages: WrittenPart | ShardEnd | Failure) -> list[str]:
        """Handles the messages; the names of the committed shards."""
        for message in messages:
            self.committer.handle_result(message)
            check_limits(self.run.recipe, self.run.output, self.times)
            self.view.show_bytes(self.committer.bytes)
        return [*read_manifests(self.run.output)]


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    return Commits(tmp_path)


@pytest.mark.parametrize("place", range(4))
def test_a_shard_is_committed_by_its_last_message_whichever_that_is(commits: Commits, place: int) -> None:
    messages: list[WrittenPart | ShardEnd] = [*commits.parts]
    messages.insert(place, commits.end)
    assert commits.handle(*messages[:-1]) == []
    assert commits.committer.committed == set()
    assert len(commits.run.output.list_files("parts")) == 3
    assert commits.handle(messages[-1]) == ["00000000"]
    assert (commits.times.shards, commits.run.output.list_files("parts")) == (1, [])
    assert commits.committer.committed == {"00000000"}


def test_shards_that_are_missing_in_the_end_are_named() -> None:
    check_complete([])
    line = r"without committing 6 shards, such as 0, 1, 2, 3, 4: rerun the command$"
    with pytest.raises(ShardloomError, match=line):
        check_complete([*"012345"])


def test_bytes_of_shards_that_are_not_committed(commits: Commits) -> None:
    first, second, third = commits.parts
    commits.handle(WrittenPart("00000000", 0, first.size), second, commits.end)
    assert commits.committer.bytes == BytesDone(first.size, second.size, first.size + second.size)
    commits.handle(third)
    assert commits.committer.bytes == BytesDone(first.size, second.size + third.size, 0)


def test_a_part_that_is_told_of_twice_counts_once(commits: Commits) -> None:
    """Ray delivers a result again whose worker has died right after it."""
    assert commits.handle(commits.parts[0], commits.parts[0], commits.parts[1], commits.end) == []
    assert commits.handle(commits.parts[2]) == ["00000000"]


def test_what_parts_hold_is_counted(commits: Commits) -> None:
    told = {"reasons": {"too_small": 1}, "engine_errors": {"ocr": 1}, "retries": 3}
    last = WrittenPart("00000000", 2, commits.parts[2].size, 2, **told)  # type: ignore[arg-type]
    commits.handle(*commits.parts[:2], last)
    assert commits.times.rows == {"annotated": 5, "too_small": 1}
    assert commits.times.engine_errors == {"ocr": 1}
    assert commits.times.bytes == sum(part.size for part in commits.parts)
    assert commits.times.resent == 3


def test_progress_is_that_of_parts_or_of_the_last_pool(commits: Commits) -> None:
    """Whichever is further: a pool finishes images of chunks that have no part yet."""
    first, second, _ = commits.parts
    commits.handle(WrittenPart("00000000", 0, first.size))  # of an earlier run
    assert (commits.progress.done, commits.times.rows, commits.times.bytes) == (first.size, {}, 0)
    commits.handle(second)
    assert commits.progress.done == first.size + second.size
    commits.view.show_bytes(commits.committer.bytes, second.size - 1)
    assert commits.progress.done == first.size + second.size
    commits.view.show_bytes(commits.committer.bytes, second.size + 100)
    assert commits.progress.done == first.size + second.size + 100


@pytest.mark.parametrize(
    ("errors", "share", "is_broken"), [(10, 0.0, False), (11, 0.0, True), (50, 0.5, False), (51, 0.5, True)]
)
def test_an_engine_that_fails_too_often_ends_the_run(
    tmp_path: Path, errors: int, share: float, is_broken: bool
) -> None:
    commits = Commits(tmp_path, max_engine_errors=share)
    part = WrittenPart("00000000", 0, 1, 100, engine_errors={"ocr": errors})
    if not is_broken:
        assert commits.handle(part) == []
        return
    with pytest.raises(ShardloomError, match=rf"^the ocr engine failed on {errors} of 100 images: see the columns "):
        commits.handle(part)


def test_a_foreseen_error_of_a_worker_ends_the_run(commits: Commits) -> None:
    for error in (UsageError("wrong"), ShardloomError("lost")):
        with pytest.raises(type(error), match=f"^{error}$"):
            commits.handle(Failure.from_error(error))


def test_nothing_is_committed_once_another_run_has_the_folder(commits: Commits) -> None:
    commits.lock.lose()
    with pytest.raises(ShardloomError, match=r"^another run has taken over the output"):
        commits.handle(*commits.parts, commits.end)
    assert commits.handle() == []
    assert len(commits.run.output.list_files("parts")) == 3
