"""Work on one image ends: by what is raised, and in workers by the end of the process."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from curation.images import decode as decode_module
from curation.images.cpu_bound import OutOfTime, cpu_bound, end_process_after
from curation.images.decode import DecodeLimits, decode
from schemas.records.quarantine import Reason, Rejected
from tests.conftest import REPOSITORY, jpeg


def burn(seconds: float = 5.0) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_takes_too_long_is_ended() -> None:
    before = time.process_time()
    with pytest.raises(OutOfTime, match=r"^more than 0\.1 s of CPU time$"), cpu_bound(0.1):
        burn()
    assert 0.09 < time.process_time() - before < 2


def test_afterwards_nothing_is_bounded() -> None:
    with cpu_bound(0.05):
        pass
    burn(0.1)
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def test_waiting_costs_no_cpu_time() -> None:
    with cpu_bound(0.2):
        time.sleep(0.4)


def test_a_profiler_keeps_its_signal() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGPROF, lambda number, _: seen.append(number))
    try:
        with cpu_bound(0.05):
            burn(0.1)
            signal.raise_signal(signal.SIGPROF)
        assert seen == [signal.SIGPROF]
    finally:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)


def test_another_thread_is_left_alone() -> None:
    thread = threading.Thread(target=_bounded_burn)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL


def _bounded_burn() -> None:
    with cpu_bound(0.05):
        burn(0.1)


def test_a_slow_image_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes it slow, and though Pillow catches every `Exception` on its way."""
    monkeypatch.setattr(DecodeLimits, "max_seconds", 0.1)

    def slow(_: object) -> int:
        try:
            burn()
        except Exception:  # noqa: BLE001  as Pillow does
            return 1
        return 1

    monkeypatch.setattr(decode_module, "_orientation", slow)
    with pytest.raises(Rejected) as fault:
        decode(jpeg(0), DecodeLimits())
    assert (fault.value.reason, fault.value.detail) == (Reason.DECODE_ERROR, "JPEG: more than 0.1 s of CPU time")


def test_the_bound_is_above_what_images_take() -> None:
    assert DecodeLimits().max_seconds == 32
    assert DecodeLimits(max_pixels=1).max_seconds == 30
    assert DecodeLimits(max_pixels=150_000_000).max_seconds == 75


NATIVE = """
import hashlib, sys
from curation.images.cpu_bound import cpu_bound, end_process_after
end_process_after(float(sys.argv[1]))
print("begun", flush=True)
with cpu_bound(60):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
"""Minutes of one native call, during which Python does nothing else."""


def test_native_code_ends_with_its_process() -> None:
    done = subprocess.run([sys.executable, "-c", NATIVE, "0.2"], cwd=REPOSITORY, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGVTALRM, b"begun\n")


def test_only_a_process_that_somebody_looks_into_may_end() -> None:
    with cpu_bound(9):
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    end_process_after(5)
    try:
        with cpu_bound(9):
            assert 4.9 < signal.getitimer(signal.ITIMER_VIRTUAL)[0] <= 5.1
            assert 3.9 < signal.getitimer(signal.ITIMER_PROF)[0] <= 4.1, "what can be raised comes first"
    finally:
        end_process_after(None)
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
