"""Measures mixtures at the scale of the paper: ten sources with 500 million documents and simulated indexes.

    python -m benchmarks.mix [--documents 500_000_000]

A plan by samples is arithmetic; a plan by tokens looks up every document's size in the order of the draws. The sizes
are log-normal, like those of web text, and stored as 16-bit numbers: 2 bytes per document of the printed peak. CPU
seconds are printed beside wall-clock seconds, because on a shared machine other processes affect the wall clock.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from curation.mixture.plan import Plan, plan_mixture
from curation.mixture.spec import Mixture, Source, WeightUnit
from curation.mixture.summary import summarise_plan
from curation.mixture.weights import compute_shares

WEIGHTS = {
    "mint": {"weight": 32.5, "of": {"html": 7, "pdf": 5, "arxiv": 1}},
    "kale": 25,
    "obelics": 17.5,
    "datacomp": 10,
    "ocr": 5,
    "grounding": 5,
    "cc12m": 2.5,
    "vg": 2.5,
}
TAKEN = 10_000_000

T = TypeVar("T")


def simulate(documents: int) -> list[Source]:
    """Returns sources in proportion to their shares, so that all end at about the same time: the longest plan."""
    sizes = np.minimum(65_535, np.random.default_rng(0).lognormal(6.3, 1, 1 << 20)).astype(np.uint16)
    lengths = {name: int(documents * share) for name, share in compute_shares(WEIGHTS).items()}
    return [Source(name, length, {"tokens": np.resize(sizes, length)}) for name, length in lengths.items()]


def timed(what: str, work: Callable[[], T], positions: int = 0) -> T:
    """Runs `work` and prints its wall-clock and CPU seconds, the rate over `positions`, and the peak memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = f", {positions / wall / 1e6:.1f} M positions/s ({positions / cpu / 1e6:.1f} M by CPU)" if positions else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"  {what:<28}{wall:8.2f} s wall {cpu:8.2f} s CPU{rate}, peak {peak:.2f} GB")
    return result


def find_at_random(plan: Plan, count: int = 1000) -> None:
    """Prints how long finding a random position takes, in microseconds."""
    took = []
    for position in np.random.default_rng(1).integers(0, plan.length, count).tolist():
        start = time.perf_counter()
        plan.at(position)
        took.append((time.perf_counter() - start) * 1e6)
    quantiles = statistics.quantiles(took, n=100)
    print(
        f"  at(n), n at random           {statistics.median(took):.0f} us median, {quantiles[98]:.0f} us of 99 in 100"
    )


def main() -> None:
    """Reads the command line and measures both units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=500_000_000)
    documents = parser.parse_args().documents
    sources = timed(f"simulating {documents:,}", lambda: simulate(documents))
    for unit in ("samples", "tokens"):
        measure(unit, sources, documents)


def measure(unit: WeightUnit, sources: list[Source], documents: int) -> None:
    """Measures planning, summarising, reading and searching a mixture by one unit."""
    print(f"by {unit}")
    mixture = Mixture(compute_shares(WEIGHTS), unit)
    walked = 0 if unit == "samples" else documents
    plan = timed("plan", lambda: plan_mixture(mixture, sources), walked)
    timed("summary", lambda: summarise_plan(plan))
    start = plan.length // 3
    taken = min(TAKEN, plan.length - start)
    timed(f"take of {taken:,}", lambda: plan.take(start, start + taken), taken)
    find_at_random(plan)


if __name__ == "__main__":
    main()
