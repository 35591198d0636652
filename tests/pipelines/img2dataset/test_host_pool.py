"""No host holds all threads, and nobody is waited for when the time is over."""

import threading
import time
from collections import Counter
from typing import Any

import pytest

from pipelines.img2dataset import host_pool
from pipelines.img2dataset.host_pool import HostPool, parse_host

PATIENCE = 600.0  # seconds: a busy machine is not a failure


class FastClock:
    """The machine's clock, put forward by `ahead` seconds."""

    ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FastClock:
    made = FastClock()
    monkeypatch.setattr(host_pool, "time", made)
    return made


def had(task: Any) -> tuple[int, str, None]:
    key, address = task
    return key, address, None


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_address_is_answered_once(threads: int) -> None:
    tasks = [(number, f"http://host{number % 5 if number < 50 else 9}.example/{number}") for number in range(100)]
    with HostPool(threads, time.time() + PATIENCE) as pool:
        answers = list(pool.imap_unordered(had, iter(tasks)))
    assert sorted(answers) == [(*task, None) for task in tasks]
    assert list(HostPool(threads, time.time() + PATIENCE).imap_unordered(had, [])) == []


def test_one_host_has_half_of_the_threads_at_most() -> None:
    """The slow host's 60 addresses come first. All others are had while two of them hold their threads."""
    freed, lock, at_work, most = threading.Event(), threading.Lock(), Counter[str](), Counter[str]()

    def ask(task: Any) -> tuple[int, str, None]:
        host = parse_host(task[1])
        with lock:
            at_work[host] += 1
            most[host] = max(most[host], at_work[host])
        if host == "slow.example":
            assert freed.wait(PATIENCE)
        with lock:
            at_work[host] -= 1
        return had(task)

    tasks = [(number, f"http://SLOW.example/{number}") for number in range(60)]
    tasks += [(number, f"http://good.example/{number}") for number in range(60, 64)]
    with HostPool(4, time.time() + PATIENCE) as pool:
        answers = pool.imap_unordered(ask, tasks)
        assert sorted(next(answers)[0] for _ in range(4)) == [60, 61, 62, 63]
        freed.set()
        assert sorted(key for key, *_ in answers) == list(range(60))
    assert most["slow.example"] == 2


def test_at_the_deadline_what_is_there_is_kept_and_nobody_waited_for(clock: FastClock) -> None:
    """The deadline comes while the pool waits for an answer."""
    stays = threading.Event()

    def ask(task: Any) -> tuple[int, str, None]:
        if "slow" in task[1]:
            stays.wait(PATIENCE)
        return had(task)

    tasks = [(number, f"http://slow{number}.example/") for number in range(3)]
    tasks += [(number, f"http://good{number}.example/") for number in range(3, 9)]
    answers = HostPool(4, time.time() + PATIENCE).imap_unordered(ask, tasks)
    assert sorted(next(answers) for _ in range(6)) == [(*task, None) for task in tasks[3:]]
    clock.ahead = PATIENCE - 0.1
    assert sorted(answers) == [(key, None, "deadline") for key in range(3)]
    stays.set()


def test_decoding_ends_soon_after_the_deadline(clock: FastClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five files that are here, one is decoded until after the time for decoding; the others are late."""
    monkeypatch.setattr(host_pool, "DECODING_SECONDS", 0.0)
    tasks = [(number, f"http://a{number}.example/") for number in range(5)]
    answers = HostPool(5, time.time() + PATIENCE).imap_unordered(had, tasks)
    first = next(answers)
    clock.ahead = PATIENCE
    assert [first[2], *(why for _, _, why in answers)] == [None] + ["deadline"] * 4


def test_addresses_without_a_host_are_one_host() -> None:
    assert [parse_host(address) for address in ("http://[::1/x", "x", "http://A.b:8/x", "http://u:p@[::1]/")] == [
        *("", "", "a.b", "::1")
    ]
