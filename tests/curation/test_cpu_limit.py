"""Work on one image or row ends: by what is raised, and in workers by the end of the process."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from curation.cpu_limit import CpuLimitExceeded, end_process_after, run_within
from curation.images.decode import DecodeLimits, decode
from curation.images.jpeg_scans import MAX_SCANS
from schemas.records.quarantine import Reason, Rejected
from tests.conftest import REPOSITORY
from tests.curation.images.support.many_scans import many_scans


def burn(seconds: float = 5.0) -> str:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "done"


def spin() -> NoReturn:
    while True:
        pass


def backtrack() -> Any:
    return re.match(r"(a+)+$", "a" * 60 + "b")


def hide() -> None:
    """As libraries do that take any fault for one of the data."""
    while True:
        with contextlib.suppress(Exception):
            spin()


class Ignored:
    """Raises where Python drops what is raised: the first signal comes in `__del__`."""

    def __del__(self) -> None:
        burn(0.15)


def lose_first() -> None:
    Ignored()
    spin()


def timers() -> list[Any]:
    return [
        signal.getsignal(signal.SIGPROF),
        signal.getitimer(signal.ITIMER_PROF),
        signal.getitimer(signal.ITIMER_VIRTUAL),
    ]


NONE = [signal.SIG_DFL, (0.0, 0.0), (0.0, 0.0)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("work", [spin, backtrack, hide, lose_first])
def test_slow_work_is_ended(work: Callable[[], Any]) -> None:
    before = time.process_time()
    with pytest.raises(CpuLimitExceeded, match=r"^more than 0\.1 s of CPU time$"):
        run_within(0.1, work)
    assert time.process_time() - before > 0.09, "not before its time"
    assert timers() == NONE


def test_work_in_time_is_left_alone_and_so_is_what_follows() -> None:
    assert run_within(0.2, lambda: burn(0.01)) == "done"
    assert timers() == NONE
    assert burn(0.3) == "done"
    with pytest.raises(ZeroDivisionError):
        run_within(5, lambda: 1 / 0)
    assert timers() == NONE


def test_waiting_costs_no_cpu_time() -> None:
    assert run_within(0.2, lambda: time.sleep(0.4) or "waited") == "waited"


def test_of_nested_limits_each_ends_its_own_work() -> None:
    def outer() -> str:
        with pytest.raises(CpuLimitExceeded, match=r"more than 0\.1 s"):
            run_within(0.1, burn)
        return burn(0.1)

    assert run_within(5, outer) == "done"
    with pytest.raises(CpuLimitExceeded, match=r"more than 0\.1 s"):
        run_within(0.1, lambda: run_within(5, burn))
    with pytest.raises(CpuLimitExceeded, match=r"more than 0\.2 s"):
        run_within(0.2, lambda: (run_within(5, lambda: burn(0.05)), spin()))
    assert timers() == NONE


def test_a_profiler_keeps_its_signal() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGPROF, lambda number, _: seen.append(number))
    try:
        assert run_within(0.05, lambda: burn(0.1)) == "done"
        signal.raise_signal(signal.SIGPROF)
        assert seen == [signal.SIGPROF]
    finally:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def test_another_thread_is_left_alone() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(run_within(0.05, lambda: burn(0.1))))
    thread.start()
    thread.join()
    assert found == ["done"]
    assert timers() == NONE


def test_a_slow_image_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many scans as an image may have, which Pillow decodes in native code, piece by piece."""
    monkeypatch.setattr(DecodeLimits, "max_seconds", 0.1)
    with pytest.raises(Rejected) as fault:
        decode(many_scans(MAX_SCANS, side=4000), DecodeLimits())
    assert (fault.value.reason, fault.value.detail) == (Reason.DECODE_ERROR, "JPEG: more than 0.1 s of CPU time")


def test_the_limit_is_above_what_images_take() -> None:
    assert DecodeLimits().max_seconds == 32
    assert DecodeLimits(max_pixels=1).max_seconds == 30
    assert DecodeLimits(max_pixels=150_000_000).max_seconds == 75


NATIVE = """
import hashlib, sys
from curation.cpu_limit import end_process_after, run_within
end_process_after(float(sys.argv[1]))
print("begun", flush=True)
run_within(60, lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9))
"""
"""Minutes of one native call, during which Python does nothing else."""


def test_native_code_ends_with_its_process() -> None:
    done = subprocess.run([sys.executable, "-c", NATIVE, "0.2"], cwd=REPOSITORY, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGVTALRM, b"begun\n")


def test_only_a_process_that_somebody_looks_into_may_end() -> None:
    assert run_within(9, timers)[2] == (0, 0)
    end_process_after(5)
    try:
        _, raising, ending = run_within(9, timers)
        assert 4.9 < ending[0] <= 5.1
        assert 3.9 < raising[0] <= 4.1, "what can be raised comes first"
    finally:
        end_process_after(None)
    assert timers() == NONE
