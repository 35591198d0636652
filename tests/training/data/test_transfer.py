"""Batches come from workers through shared memory, with few descriptors, and without it in one line of an error."""

import contextlib
import ctypes
import multiprocessing
import pickle
import re
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ShardloomError
from tests.training.support import runs
from tests.training.support.sets import mixed, plan, tokenizer
from training.data.loader import PackLoader
from training.data.plan import PackPlan
from training.data.transfer import share_batch

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    folder = tmp_path_factory.mktemp("transfer")
    return plan(folder, mixed(folder, tokenizer(folder)[0]), packing_window=30)


def in_a_child(work: Callable[[], Any]) -> Any:
    """What the work returns in a process of its own, whose limits and mounts are its own too."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sending.send(work()))
    child.start()
    sending.close()
    try:
        assert receiving.poll(60), "it neither answers nor ends"
        return receiving.recv()
    finally:
        child.kill()


def list_descriptors() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


def limit_descriptors(more: int) -> None:
    """Lets this process have so many more than now."""
    limit = len(list_descriptors()) + more
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def shrink_shared_memory(size: str) -> bool:
    """Gives this process a /dev/shm of its own; false where it may not."""
    if ctypes.CDLL(None).unshare(NEW_MOUNTS):
        return False
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"]
    return not any(
        subprocess.run(words, capture_output=True).returncode for words in (["mount", "--make-rprivate", "/"], mount)
    )


def test_a_batch_is_what_was_sent() -> None:
    for images in (True, False):
        sent = runs.batch(3, images)
        assert runs.equal(pickle.loads(pickle.dumps(share_batch(sent))), sent)  # noqa: S301  our own


def test_a_step_of_many_micro_batches_needs_few_descriptors(small: PackPlan) -> None:
    """Eight for each of 24 would be 192."""

    def count() -> list[int]:
        limit_descriptors(64)
        with contextlib.closing(PackLoader(small, global_batch_size=24, workers=1, prefetch=2)) as loader:
            return [len(step.batches) for step in list(loader.iterate_steps())]

    assert in_a_child(count) == [24]


def test_sources_keep_no_descriptors(tmp_path: Path) -> None:
    sources = mixed(tmp_path, tokenizer(tmp_path)[0])
    before = len(list_descriptors())
    held = plan(tmp_path, sources)
    assert held.pack_window(0)
    assert len(list_descriptors()) == before


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("128k", r"data: /dev/shm has no room for a batch of [\d,]+ bytes on its way from a worker; [\d,]+ of its "
         r"131,072 bytes are free: enlarge it \(docker run --shm-size\), or set data.workers=0 or a lower "
         r"data.prefetch \("),
        ("4k", r"data: cannot start 1 loader workers: No space left on device; they need some pages of /dev/shm, and "
         r"open files \(ulimit -n\): give them more, or set data.workers=0"),
    ],
)  # fmt: skip
def test_shared_memory_that_is_too_small(small: PackPlan, size: str, message: str) -> None:
    def load() -> str | None:
        if not shrink_shared_memory(size):
            return None
        loader = PackLoader(small, global_batch_size=4, micro_batch_size=4, workers=1, prefetch=2)
        try:
            list(loader.iterate_steps())
        except ShardloomError as error:
            return str(error)
        finally:
            loader.close()
        return "nothing was wrong"

    said = in_a_child(load)
    if said is None:
        pytest.skip("nothing may be mounted here")
    assert re.match(message, said), said
    assert "\n" not in said
