"""The main job, from its start to its end: `train`."""

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
    """How a run has ended."""

    folder: Path
    step: int  # steps that are done
    ended: str  # "done", "stopped" by a signal, or "no data" when that ran out first
    losses: dict[str, float]  # of the last step, by source
    model: Path | None  # the export; None when it was stopped
    seen: dict[str, int]  # tokens, images and so on since the first step; `left_out/SOURCE.REASON`, `split/SOURCE`


def train(recipe: TrainRecipe, resume: str | None = None, quiet: bool = False) -> TrainResult:
    """Trains, and exports the model at the end.

    `resume`: "auto" for the newest whole checkpoint of the run's folder, or a checkpoint's own. Raises `UsageError` for
    what is found to be wrong before work begins, `ShardloomError` for what ends it; checkpoints stay.
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
    """SIGTERM or an interrupt ends the run after the step that is under way; a second interrupt ends it at once."""

    def __init__(self, quiet: bool) -> None:
        self.asked = False
        self._quiet = quiet
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # else the signals are another's
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
    """The data of step after step, and how long the last one was waited for."""

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
        with contextlib.suppress(RuntimeError):  # torch's, of a reader that is gone; the others are ended all the same
            self._loader.close()
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):  # the same, at any line
            raise _reader_gone(error) from None

    def next(self) -> StepData | None:
        """None where there is no more."""
        started = time.perf_counter()
        try:
            return next(self._steps, None)
        except (EOFError, ConnectionError) as error:  # it went while it handed something over
            raise _reader_gone(error) from None
        finally:
            self.waited = time.perf_counter() - started


def _reader_gone(error: Exception) -> ShardloomError:
    what = one_line(error, with_type=True)
    return ShardloomError(f"data: a process that reads is gone, for want of memory perhaps: {what}")


def _agreed(run: Run, data: StepData | None, waited: float, stopping: Stopping, step: int) -> tuple[Tally, str]:
    """What the step is made of on all ranks, and whether it is to be taken: "done" if so. All ranks decide alike."""
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
    """A step's line of the log. What was left out and split is of all steps so far: most lines may go unwritten."""
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
    """Of what was seen, the counts of a kind with names of its own: `left_out` or `split`."""
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
