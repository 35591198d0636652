"""A row that asks for hours is left out by name; its neighbours stay, and so do the signals."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from curation.sources import text
from pipelines.ingest.row_time import within
from pipelines.recipes.ingest import IngestRun
from schemas.output_set.layout import committed
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows


def spin() -> NoReturn:
    while True:
        pass


def backtrack() -> Any:
    return re.match(r"(a+)+$", "a" * 60 + "b")


def hidden() -> None:
    """As libraries do that take any fault for one of the data."""
    while True:
        with contextlib.suppress(Exception):
            spin()


@pytest.mark.parametrize("work", [spin, backtrack, hidden])
def test_slow_work_is_ended(work: Callable[[], Any]) -> None:
    begin = time.monotonic()
    with pytest.raises(Rejected) as error:
        within(0.2, work)
    assert (error.value.reason, error.value.detail) == (Reason.TOO_SLOW, "more than 0.2 s of CPU time")
    assert time.monotonic() - begin < 20
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_work_in_time_is_left_alone() -> None:
    assert within(5, lambda: 3, ends_process=True) == 3
    with pytest.raises(Rejected, match="no_caption: x"):
        within(5, _reject)
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def _reject() -> NoReturn:
    raise Rejected(Reason.NO_CAPTION, "x")


def test_waiting_is_no_work() -> None:
    assert within(0.1, lambda: time.sleep(0.3)) is None


def test_other_threads_and_the_signals_of_others_are_left_alone() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(within(0.1, lambda: 3)))
    thread.start()
    thread.join()
    assert found == [3]
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        assert within(0.1, lambda: 3) == 3
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGALRM, before)


def test_native_code_ends_its_process_where_that_is_looked_into() -> None:
    """Code that no signal reaches: here, because it is blocked."""
    script = """if True:
        import signal
        from pipelines.ingest.row_time import within
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        def spin():
            while True:
                pass
        within(0.2, spin, ends_process=True)
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGVTALRM, done.stderr


@pytest.mark.parametrize("repeats", ["keep", "exact"])
@pytest.mark.parametrize("slow", [0, 1, 30])
def test_a_slow_row_is_named_and_costs_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: int, repeats: str
) -> None:
    """Also among the first rows, which tell whether the set is the one that it is called."""
    read = text.json_object
    monkeypatch.setattr(text, "json_object", lambda line, name: spin() if "slow" in line else read(line, name))
    lines = [f'{{"text": "{"slow" if row == slow else "fast"} {row}"}}\n' for row in range(32)]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    run = IngestRun(workers=1, row_seconds=0.1)
    take_in("text", str(tmp_path / "a.jsonl"), tmp_path / "out", run=run, repeated_images=repeats)
    (row,) = rows(tmp_path / "out", "quarantine")
    assert (row["key"], row["stage"], row["reason"], row["detail"]) == (
        str(slow),
        "ingest",
        "too_slow",
        "more than 0.1 s of CPU time",
    )
    (manifest,) = committed(Folder(str(tmp_path / "out"))).values()
    assert (manifest.rows_in, manifest.rows_out, manifest.reasons) == (32, 31, {"too_slow": 1})
