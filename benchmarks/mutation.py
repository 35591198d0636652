"""Tests the tests: mutmut changes the pure code in small ways, and counts the changes that no test notices.

    make mutation [ONLY='schemas.tar*'] [SAMPLE=600]
    python -m benchmarks.mutation [--only PATTERN] [--sample COUNT] [--seed SEED] [--report]

`[tool.mutmut]` of `pyproject.toml` names the mutated files and the tests that run. The results are kept in `mutants/`:
a later run tests again what survived and what is new. `mutmut show NAME` prints a mutant. The score is the share of
killed mutants; one that runs out of time is killed, and one whose function no test calls is not.

Mutants are tested in a random order, so that those tested before an interrupt are a random sample too. The score of a
sample has its Wilson interval of 95 %.
"""

import argparse
import fnmatch
import itertools
import math
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import mutmut.__main__
import mutmut.workers.isolation
from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files
from mutmut.utils.format_utils import get_module_from_key
from mutmut.workers.timeout import register_timeout

ROOT = Path(__file__).parents[1]  # and the working directory, where mutmut works
MUTANTS = ROOT / "mutants"
MEMORY = 8 << 30  # bytes: a loop that never ends may fill a list until it is stopped
PATIENCE = 10  # mutmut stops what takes half of its limit of CPU by the wall clock; a busy machine is not a mutant
KILLED = ("killed", "timeout")
COLUMNS = ("mutants", "killed", "timeout", "survived", "no tests", "other")
NO_RUN = 255  # pytest could not run, which mutmut takes for a time-out: it does not find a test by an odd id
Z = 1.959964  # of a normal distribution's middle 95 %


def write_mutants() -> None:
    """Writes the mutated packages and their tests into `mutants/`; mutmut has no command that does this alone."""
    copies = {copy: ROOT / copy.relative_to(MUTANTS) for copy in (MUTANTS / "tests").rglob("*.py")}
    if any(test.exists() and test.read_bytes() != copy.read_bytes() for copy, test in copies.items()):
        # which tests call a function: mutmut looks at new tests again, but not at changed ones
        (MUTANTS / "mutmut-stats.json").unlink(missing_ok=True)
    shutil.rmtree(MUTANTS / "tests", ignore_errors=True)  # mutmut keeps the tests that were deleted since
    MUTANTS.mkdir(exist_ok=True)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(1)


def read_statuses() -> dict[str, str]:
    """Returns the status of each mutant by its name."""
    statuses = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            statuses[name] = "no run" if code == NO_RUN else status_by_exit_code[code]
    return statuses


def draw(names: Iterable[str], pattern: str, seed: int) -> list[str]:
    """Returns the names that match the pattern, in a random order."""
    matching = sorted(fnmatch.filter(names, pattern))
    if not matching:
        raise SystemExit(f"error: no mutant matches {pattern!r}; a name is like schemas.tar.writer.x_pad__mutmut_1")
    return random.Random(seed).sample(matching, len(matching))


class _ShortestFirst(PytestRunner):
    """Runs the shortest tests first, because the first failure ends a mutant."""

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        ordered = sorted(tests, key=lambda test: state().duration_by_test.get(test, 0.0))
        return super().run_tests(mutant_name=mutant_name, tests=ordered)


def run_mutants(names: Sequence[str]) -> None:
    """Runs the tests of these mutants, one mutant at a time and in this order; mutmut's own begins with short tests."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    os.environ.setdefault("SHARDLOOM_DATA", str(ROOT.parent / "shared" / "data"))  # for tests in mutants/, one up
    order = {name: float(number) for number, name in enumerate(names)}
    mutmut.__main__.estimated_worst_case_time = order.__getitem__  # by which `_run` sorts, and nothing else
    mutmut.workers.isolation.PytestRunner = _ShortestFirst
    mutmut.workers.isolation.register_timeout = lambda pid, seconds: register_timeout(pid, PATIENCE * seconds)
    mutmut.__main__._run(names, 1)


def compute_interval(killed: int, mutants: int) -> tuple[float, float]:
    """Returns the Wilson score interval of a share (E. B. Wilson, 1927)."""
    share, weight = killed / mutants, Z * Z / mutants
    middle = share + weight / 2
    half = Z * math.sqrt(share * (1 - share) / mutants + weight / mutants / 4)
    return (middle - half) / (1 + weight), (middle + half) / (1 + weight)


def format_row(name: str, counts: Mapping[str, int]) -> str:
    """Formats one line of the table."""
    score = sum(counts[status] for status in KILLED) / counts["mutants"]
    return f"{name:<24}" + "".join(f"{counts[column]:>10}" for column in COLUMNS) + f"{score:>9.3f}"


def print_scores(statuses: Mapping[str, str], mutants: int) -> None:
    """Prints the counts and the score of each package, and of all, of so many `mutants` of which these were tested."""
    if not statuses:
        raise SystemExit("error: no mutant was tested yet")
    packages: dict[str, Counter[str]] = {}
    for name, status in statuses.items():
        package = get_module_from_key(name).rpartition(".")[0]
        known = status if status in COLUMNS else "other"
        for key in (package, "all"):
            packages.setdefault(key, Counter()).update(["mutants", known])
    print(f"mutmut {version('mutmut')}")
    print(f"{'package':<24}" + "".join(f"{column:>10}" for column in COLUMNS) + f"{'score':>9}")
    for name in sorted(packages.keys() - {"all"}):
        print(format_row(name, packages[name]))
    whole = packages["all"]
    print(format_row("all", whole))
    if len(statuses) < mutants:
        low, high = compute_interval(sum(whole[status] for status in KILLED), len(statuses))
        print(f"a random sample of {mutants} mutants, whose score is between {low:.3f} and {high:.3f} (95 %)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="a pattern of mutants' names")
    parser.add_argument("--sample", type=int, default=0, help="test so many, drawn at random; 0 is all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="print the scores of the last run")
    options = parser.parse_args()
    if not options.report:
        write_mutants()
    statuses = read_statuses()
    chosen = draw(statuses, options.only, options.seed)
    drawn = chosen[: options.sample or len(chosen)]
    if not options.report:
        if remaining := [name for name in drawn if statuses[name] not in KILLED]:
            run_mutants(remaining)
        statuses = read_statuses()
    tested = list(itertools.takewhile(lambda name: statuses[name] != "not checked", drawn))
    print_scores({name: statuses[name] for name in tested}, len(chosen))


if __name__ == "__main__":
    main()
