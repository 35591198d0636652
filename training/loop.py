"""Runs a training from start to end: `train`."""

import contextlib
import signal
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from schemas.errors import ShardloomError, one_line
from schemas.terminal import say
from training.checkpoint import Saver, forget_later, load
from training.data.loader import PackLoader, StepData
from training.data.plan import Cursor
from training.metrics import Metrics, Tally, memory_used, rates_of, read_metrics
from training.optimiser import set_rates
from training.parallel import joined
from training.recipe import TrainRecipe, check_output
from training.schedule import factor
from training.set_up import CHECKPOINTS, Run, check_fits, claim, export, found_checkpoint, set_up, state_of
from training.step import Outcome, take_step

_SEEN = ("labels", "tokens", "positions", "images", "samples", "faults")


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Reports how a run ended."""

    folder: Path
    step: int  # number of finished steps
    ended: str  # "done", "stopped" by a signal, or "no data" when the data ran out first
    losses: dict[str, float]  # of the last step, by source
    model: Path | None  # the export; None when it was stopped
    seen: dict[str, int]  # tokens, images and so on since the first step; `left_out/SOURCE.REASON`, `split/SOURCE`


def train(recipe: TrainRecipe, resume: str | None = None, quiet: bool = False) -> TrainResult:
    """Trains the model of a recipe, and exports it at the end.

    `resume` is "auto" for the newest intact checkpoint in the run's folder, or the folder of a checkpoint. Raises
    `UsageError` for an error found before the first step, and `ShardloomError` for a failure later; checkpoints stay.
    """
    folder = check_output(recipe)
    with (
        joined(recipe.run, recipe.parallel) as ranks,
        Stopping(quiet or not ranks.is_first) as stopping,
        claim(folder, recipe, resume, ranks),
    ):
        run = set_up(folder, recipe, ranks, quiet)
        trainer, step, cursor, seen = run.trainer, 0, Cursor(0, 0), dict.fromkeys(_SEEN, 0)
        if checkpoint := found_checkpoint(resume, folder, ranks):
            check_fits(checkpoint, run)
            load(checkpoint, trainer.model, trainer.optimiser, ranks)
            step, cursor, seen = checkpoint.state.step, Cursor(**checkpoint.state.cursor), checkpoint.state.seen
            if resume != "auto" and ranks.is_first:
                forget_later(folder / CHECKPOINTS, step)
        saver = Saver(folder / CHECKPOINTS, recipe.checkpoint, ranks)
        ended, outcome = "done", None
        with Metrics(folder, recipe, step, ranks.is_first, quiet) as metrics, saver, Steps(run, cursor) as steps:
            while step < recipe.steps:
                started = time.perf_counter()
                data = steps.next()
                tally, ended = _agreed(run, data, steps.waited, stopping, step)
                if data is None or ended != "done":
                    break
                seen = _seen_with(seen, tally, data)
                metrics.tell_faults(step + 1, data.faults, seen, ranks)
                lr = set_rates(trainer.optimiser, factor(recipe.schedule, step, recipe.steps))
                outcome = take_step(trainer, data.batches, tally.labels, step)
                step, cursor = step + 1, data.cursor
                metrics.log(_line(run, step, outcome, lr, tally, seen, cursor, time.perf_counter() - started))
                if step % recipe.checkpoint.every == 0 and step < recipe.steps:
                    saver.save(trainer.model, trainer.optimiser, state_of(run, step, asdict(cursor), seen))
            if outcome is not None:
                saver.save(trainer.model, trainer.optimiser, state_of(run, step, asdict(cursor), seen))
            model = export(run) if ended != "stopped" else None
        ranks.agree(saver.failed, "writing the last checkpoint")
        losses = outcome.by_source(recipe.sources) if outcome else _last_losses(folder)
        return TrainResult(folder, step, ended, losses, model, seen)


class Stopping:
    """Stops the run after the current step on SIGTERM or an interrupt; a second interrupt stops it at once."""

    def __init__(self, quiet: bool) -> None:
        self.asked = False
        self._quiet = quiet
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        if not self._quiet:
            say("training: stopping after this step, with a checkpoint")


class Steps:
    """Loads the data of each step, and measures how long the last step waited for it."""

    def __init__(self, run: Run, cursor: Cursor) -> None:
        recipe, ranks, options = run.trainer.recipe, run.trainer.ranks, run.trainer.recipe.data
        self.waited = 0.0  # seconds
        self._loader = PackLoader(
            run.plan,
            sequences=recipe.sequences,
            micro=recipe.micro,
            rank=ranks.rank,
            ranks=ranks.count,
            workers=options.workers,
            prefetch=options.prefetch,
        )
        self._steps = self._loader.steps(cursor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # torch's, for a dead worker; the others end anyway
            self._loader.close()
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):  # raised at any line
            raise _reader_gone(error) from None

    def next(self) -> StepData | None:
        """Returns the next step's data, or None at the end. Raises `ShardloomError` when a worker has died."""
        started = time.perf_counter()
        try:
            return next(self._steps, None)
        except (EOFError, ConnectionError) as error:  # the worker died while it sent a batch
            raise _reader_gone(error) from None
        finally:
            self.waited = time.perf_counter() - started


def _reader_gone(error: Exception) -> ShardloomError:
    what = one_line(error, with_type=True)
    return ShardloomError(f"data: a loader worker died, perhaps for lack of memory: {what}")


def _agreed(run: Run, data: StepData | None, waited: float, stopping: Stopping, step: int) -> tuple[Tally, str]:
    """All-reduces the step's tally, and decides alike on all ranks whether to take the step: "done" if so."""
    tally = Tally() if data is None else Tally.of(data.batches, run.flops, len(data.faults), waited)
    asked, absent = float(stopping.asked), float(data is None)
    *numbers, stops, ends = run.trainer.ranks.sums([*tally.numbers(), asked, absent], f"step {step + 1}")
    return Tally.of_all(numbers), "stopped" if stops else "no data" if ends else "done"


def _line(
    run: Run,
    step: int,
    outcome: Outcome,
    lr: dict[str, float],
    tally: Tally,
    seen: dict[str, int],
    cursor: Cursor,
    seconds: float,
) -> dict[str, Any]:
    """Builds a step's log line. `left_out` and `split` count all steps so far, since most lines may go unwritten."""
    trainer = run.trainer
    counts = asdict(tally)
    for name in ("flops", "waited"):
        del counts[name]
    return {
        "step": step,
        "loss": outcome.loss,
        "losses": outcome.by_source(trainer.recipe.sources),
        "lr": lr,
        "gradient_norm": outcome.gradient_norm,
        **counts,
        "cursor": [cursor.window, cursor.pack],
        "left_out": of_kind(seen, "left_out"),
        "split": of_kind(seen, "split"),
        **rates_of(tally, seconds, trainer.ranks.count, run.peak),
        "memory": memory_used(trainer.ranks.device),
    }


def of_kind(seen: dict[str, int], kind: str) -> dict[str, int]:
    """Returns the counts in `seen` of one kind, `left_out` or `split`, by the name behind the kind."""
    return {name.removeprefix(f"{kind}/"): count for name, count in seen.items() if name.startswith(f"{kind}/")}


def _seen_with(seen: dict[str, int], tally: Tally, data: StepData) -> dict[str, int]:
    found = Counter(seen)
    found.update({name: getattr(tally, name) for name in _SEEN})
    for kind, counts in (("left_out", data.left_out), ("split", data.split)):
        found.update({f"{kind}/{name}": count for name, count in counts.items()})
    return dict(found)


def _last_losses(folder: Path) -> dict[str, float]:
    lines = read_metrics(folder)
    return lines[-1]["losses"] if lines else {}
