"""Downloads the images of DataComp's metadata by img2dataset: one part of a metadata file a task, a shard each.

What has failed is in the quarantine and in the shard's side Parquet. `--retry-failed` asks for it again: a round over
all parts, whose shards are further ones, `00000007-r1` beside `00000007`. What is committed is never asked for again
and never written again: of a row that was asked for again the last attempt counts, in the totals as well. A round that
was killed leaves a mark, by which the same command goes on with it.
"""

import functools
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Self

from pipelines.cluster.map_units import map_units
from pipelines.download.part import Part, PartWork
from pipelines.download.rows import metadata_reader
from pipelines.img2dataset.failures import REFUSED, can_be_asked, may_pass
from pipelines.img2dataset.placement import download_placement
from pipelines.img2dataset.process import asked_so_far
from pipelines.inputs.source_files import Stretch, cut_file, source_files
from pipelines.output.claim import holds_recipe
from pipelines.output.output_set import begun, commit
from pipelines.output.totals import RunClock, Totals, totals
from pipelines.recipes.download import DownloadRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, PARTS, UNFINISHED, committed
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

TALLY_SECONDS = 2.0

_ROUND = "retry-"  # before the number of a round of asking again, in a mark's name


def download(
    recipe: DownloadRecipe, output: str, retry_failed: bool = False, retry_all: bool = False, quiet: bool = False
) -> Totals:
    """Downloads every part that is not committed yet; then, if told to, asks again for what has failed so far.

    `retry_failed` asks for what may be had by now (`download_failures.may_pass`), `retry_all` for whatever can be asked
    for. Raises `ShardloomError` when it can't be done to the end.
    """
    folder = Folder(output)
    holds_recipe(folder, recipe)  # before the plan, which may take minutes
    wanted = can_be_asked if retry_all else may_pass
    parts = plan(recipe, quiet)
    with begun(folder, recipe):
        done = committed(folder)
        check_unchanged(folder, parts, done)
        run = Run(recipe, folder, wanted, quiet)
        todo = [part for part in parts if part.name not in done]
        if todo:
            run.fetch(todo, sum(rows_of(part) for part in todo), UNFINISHED)
        else:
            folder.remove(UNFINISHED)  # of a run that was killed after its last commit
        if retry_failed or retry_all:
            retry(run, parts)
        result = totals(folder)
    if quiet:
        return result
    passing = sum(count for kind, count in result.reasons.items() if may_pass(kind))
    if passing:
        print(f"{passing:,} of the images that failed may be had later: --retry-failed asks again", file=sys.stderr)
    if refused := result.reasons[REFUSED]:
        how = "--allow-host NAME lets a host of a private network be asked, with --retry-all"
        print(f"{refused:,} {REFUSED}: {how}", file=sys.stderr)
    return result


def plan(recipe: DownloadRecipe, quiet: bool) -> list[Part]:
    """All parts, in the order of the files and of the rows in them."""
    reader = metadata_reader(recipe)
    files = source_files(recipe.input, "metadata", reader)
    stretches: list[Stretch] = []
    with Progress("plan", len(files), "files", quiet) as progress:
        for found in map_units(functools.partial(cut_file, reader, recipe.urls_per_shard), files, recipe.run):
            stretches += found
            progress.items += 1
            progress.advance(1)
    if not stretches:
        raise UsageError(f"there is no row in {', '.join(recipe.input)}")
    stretches.sort(key=lambda stretch: (stretch.path, stretch.start))
    return [Part(number, stretch) for number, stretch in enumerate(stretches)]


def rows_of(part: Part) -> int:
    """Rows of its stretch."""
    assert part.stretch.stop is not None  # which is for tars alone
    return part.stretch.stop - part.stretch.start


def check_unchanged(output: Folder, parts: list[Part], done: dict[str, Manifest]) -> None:
    """Refuses to go on over metadata that has changed: keys and shards would be other rows'."""
    stretches = {part.name: part.stretch for part in parts}
    for name, manifest in done.items():
        stretch = stretches.get(name.partition("-")[0])
        if stretch is None or (stretch.label, stretch.size) != (manifest.inputs[0].path, manifest.inputs[0].size):
            raise UsageError(
                f"the metadata has changed since {output.path(DATA)}/{name} was committed: take a new output folder"
            )


class Tally:
    """Keeps the progress up to date while parts are at work, of which each may take half an hour."""

    def __init__(self, progress: Progress, output: Folder) -> None:
        self.committed = 0  # rows
        self._progress, self._output = progress, output
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._is_over.wait(TALLY_SECONDS):
            rows = self.committed + asked_so_far(self._output)
            self._progress.done = min(rows, self._progress.total)
            self._progress.show(self._progress.done)


class Run:
    """What all parts of a run share."""

    def __init__(self, recipe: DownloadRecipe, output: Folder, wanted: Callable[[str], bool], quiet: bool) -> None:
        self.recipe, self.output, self.wanted, self.quiet = recipe, output, wanted, quiet

    def fetch(self, parts: list[Part], rows: int, mark: str) -> None:
        """Downloads these parts, of so many rows, and commits each as it is done. The mark lies there until all are."""
        where = download_placement(self.recipe.run, len(parts))
        self.output.write(mark, b"")
        self.output.clear(PARTS, but=mark.removeprefix(f"{PARTS}/"))  # half a shard each that killed runs have left
        clock = RunClock()
        with Progress("download", rows, "addresses", self.quiet) as progress, Tally(progress, self.output) as tally:
            work = PartWork(self.recipe, self.output, self.wanted)
            for manifest in map_units(work, parts, self.recipe.run, placement=where):
                commit(self.output, manifest)
                tally.committed += manifest.rows_in
        self.output.clear(PARTS)
        clock.stop(self.output)


def retry(run: Run, parts: list[Part]) -> None:
    """Asks again for what has failed: goes on with the round that was begun, or begins the next one."""
    done = committed(run.output)
    attempts: dict[str, dict[int, Manifest]] = {part.name: {} for part in parts}
    for name, manifest in done.items():
        found = re.fullmatch(r"(\d+)(?:-r(\d+))?", name)
        assert found is not None, name
        attempts[found[1]][int(found[2] or 0)] = manifest
    begun_before = [name for name in run.output.names(PARTS) if name.startswith(_ROUND)]
    last = max(number for of_part in attempts.values() for number in of_part)
    this = int(begun_before[0].removeprefix(_ROUND)) if begun_before else last + 1
    todo, rows, failed = [], 0, Counter[str]()
    for part in parts:
        earlier = [attempts[part.name][number] for number in sorted(attempts[part.name])]
        lost = left(earlier)
        failed += lost
        asked = sum(count for kind, count in lost.items() if run.wanted(kind))
        if asked and this not in attempts[part.name]:
            todo.append(replace(part, attempt=this, earlier=tuple(manifest.name for manifest in earlier)))
            rows += asked
    if todo:
        run.fetch(todo, rows, f"{PARTS}/{_ROUND}{this}")
    elif not begun_before and not run.quiet:
        print(nothing_to_ask(failed, run.wanted), file=sys.stderr)
    run.output.clear(PARTS)


def left(earlier: list[Manifest]) -> Counter[str]:
    """Rows of a part that no attempt has had, by the reason of their last failure."""
    reasons: Counter[str] = Counter()
    for manifest in earlier:
        reasons.subtract(manifest.retried)
        reasons.update(manifest.reasons)
    return reasons


def nothing_to_ask(failed: Counter[str], wanted: Callable[[str], bool]) -> str:
    """Says that no failure is one of those that were to be asked for again, and what failures there are."""
    found = ", ".join(f"{count:,} {kind}" for kind, count in failed.most_common())
    more = " (--retry-all asks for all)" if wanted is not can_be_asked and any(map(can_be_asked, failed)) else ""
    return f"nothing to ask again: {found or 'no image failed'}{more}"
