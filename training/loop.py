"""Runs a training from start to end: `train`."""

import logging
import signal
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from schemas.activity import report_activity
from schemas.errors import ShardloomError, to_one_line
from schemas.log import LOG
from schemas.output_set.report import write_report
from schemas.storage.folder import Folder
from training.checkpoint import CheckpointSaver, list_checkpoints, load_checkpoint, remove_later_checkpoints
from training.data.loader import PackLoader, StepData
from training.data.plan import Cursor
from training.evaluation.held_out_loss import HeldOutLog
from training.metrics import MetricsLogger, StepCounts, compute_rates, measure_peak_memory, read_metrics
from training.optimizer import set_learning_rates
from training.parallel import init_distributed
from training.recipe import TrainRecipe, require_output_folder
from training.run_length import announce
from training.schedule import compute_lr_factor
from training.set_up import (
    CHECKPOINTS_FOLDER,
    TrainingRun,
    build_run_state,
    check_checkpoint_matches,
    claim_run_folder,
    export_model,
    find_checkpoint,
    set_up,
)
from training.step import StepResult, take_step

_SEEN_TOTALS = ("labels", "tokens", "positions", "images", "samples", "bad_samples")


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Reports how a run ended."""

    folder: Path
    step: int  # number of finished steps
    steps: int  # of the whole run
    status: str  # "done", "stopped" by a signal, or "no data" when the data ran out first
    losses: dict[str, float]  # of the last step, by source
    model_folder: Path | None  # the export; None when it was stopped
    seen: dict[str, int]  # tokens, images and so on since the first step; `left_out/SOURCE.REASON`, `split/SOURCE`


def train(recipe: TrainRecipe, resume: str | None = None) -> TrainResult:
    """Trains the model of a recipe, and exports it at the end.

    `resume` is "auto" for the newest intact checkpoint in the run's folder, or the folder of a checkpoint. Raises
    `UsageError` for an error found before the first step, and `ShardloomError` for a failure later; checkpoints stay.
    """
    folder = require_output_folder(recipe)
    with (
        init_distributed(recipe.run, recipe.parallel) as ranks,
        StopHandler() as stopping,
        claim_run_folder(folder, recipe, resume, ranks),
    ):
        if not ranks.is_first:
            LOG.setLevel(logging.WARNING)  # one rank speaks for all
        with report_activity("training: preparing the model and the data"):
            run = set_up(folder, recipe, ranks)
        trainer, steps = run.trainer, run.length.steps
        step, cursor, seen = 0, Cursor(0, 0), dict.fromkeys(_SEEN_TOTALS, 0)
        if checkpoint := find_checkpoint(resume, folder, ranks):
            check_checkpoint_matches(checkpoint, run)
            load_checkpoint(checkpoint, trainer.model, trainer.optimizer, ranks)
            step, cursor, seen = checkpoint.state.step, Cursor(**checkpoint.state.cursor), checkpoint.state.seen
            if resume != "auto" and ranks.is_first:
                remove_later_checkpoints(folder / CHECKPOINTS_FOLDER, step)
        if ranks.is_first:
            announce(recipe, run.length)
        held_out = HeldOutLog(run, step)
        checkpoints = folder / CHECKPOINTS_FOLDER
        best_step = held_out.find_best_kept(list_checkpoints(checkpoints))
        saver = CheckpointSaver(checkpoints, recipe.checkpoint, ranks, best_step)
        ended, outcome, is_best = "done", None, False
        with (
            MetricsLogger(folder, recipe, step, steps, ranks.is_first) as metrics,
            saver,
            StepIterator(run, cursor, stopping) as step_data,
        ):
            while step < steps:
                started = time.perf_counter()
                data = step_data.read_next()
                tally, ended = _all_reduce_tally(run, data, step_data.wait_seconds, stopping, step)
                if data is None or ended != "done":
                    break
                seen = _add_to_seen(seen, tally, data)
                metrics.record_bad_samples(step + 1, data.bad_samples, seen, ranks)
                lr = set_learning_rates(trainer.optimizer, compute_lr_factor(recipe.schedule, step, steps))
                outcome = take_step(trainer, data.batches, tally.labels, step)
                step, cursor = step + 1, data.cursor
                metrics.log(_build_log_line(run, step, outcome, lr, tally, seen, cursor, time.perf_counter() - started))
                is_best = held_out.record(step, is_last=step == steps)
                if (is_best or step % recipe.checkpoint.every == 0) and step < steps:
                    state = build_run_state(run, step, asdict(cursor), seen)
                    saver.save(trainer.model, trainer.optimizer, state, is_best)
            if outcome is not None:
                state = build_run_state(run, step, asdict(cursor), seen)
                saver.save(trainer.model, trainer.optimizer, state, is_best)
            model = export_model(run) if ended != "stopped" else None
        ranks.raise_if_any_failed(saver.failure, "writing the last checkpoint")
        if ranks.is_first and step:
            write_report(Folder(str(folder)))
        losses = outcome.average_by_source(recipe.sources) if outcome else _read_last_losses(folder)
        return TrainResult(folder, step, steps, ended, losses, model, seen)


class StopHandler:
    """Stops the run after the current step on SIGTERM or an interrupt; a second interrupt stops it at once."""

    def __init__(self) -> None:
        self.is_stop_requested = False
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            self._previous_handlers = {
                number: signal.signal(number, self._handle_signal) for number in (signal.SIGTERM, signal.SIGINT)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.is_stop_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_stop_requested = True
        LOG.info("training: stopping after this step, with a checkpoint")


class StepIterator:
    """Loads the data of each step, and measures how long the last step waited for it."""

    def __init__(self, run: TrainingRun, cursor: Cursor, stop_handler: StopHandler) -> None:
        recipe, ranks, options = run.trainer.recipe, run.trainer.ranks, run.trainer.recipe.data
        self.wait_seconds = 0.0  # seconds
        self._loader = PackLoader(
            run.plan,
            global_batch_size=recipe.global_batch_size,
            micro_batch_size=recipe.micro_batch_size,
            rank=ranks.rank,
            world_size=ranks.world_size,
            workers=options.workers,
            prefetch=options.prefetch,
            stall_seconds=recipe.run.stall_seconds,
            should_stop=lambda: stop_handler.is_stop_requested,
        )
        self._steps = self._loader.iterate_steps(cursor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loader.close()
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
            raise _make_worker_error(error) from None
        if isinstance(error, RuntimeError) and str(error).startswith("Too many open files"):  # torch's
            raise ShardloomError("data: too many open files in the trainer: raise the limit (ulimit -n)") from None

    def read_next(self) -> StepData | None:
        """Returns the next step's data, or None at the end, or when it is not there and the run is to stop.

        Raises `ShardloomError` when a worker has died.
        """
        started = time.perf_counter()
        try:
            return next(self._steps, None)
        except (EOFError, ConnectionError) as error:  # the worker died while it sent a batch
            raise _make_worker_error(error) from None
        finally:
            self.wait_seconds = time.perf_counter() - started


def _make_worker_error(error: Exception) -> ShardloomError:
    what = to_one_line(error, with_type=True)
    return ShardloomError(f"data: a loader worker died, perhaps for lack of memory: {what}")


def _all_reduce_tally(
    run: TrainingRun, data: StepData | None, wait_seconds: float, stop_handler: StopHandler, step: int
) -> tuple[StepCounts, str]:
    """All-reduces the step's tally, and decides alike on all ranks whether to take the step: "done" if so."""
    tally = (
        StepCounts()
        if data is None
        else StepCounts.from_batches(data.batches, run.flops, len(data.bad_samples), wait_seconds)
    )
    asked, absent = float(stop_handler.is_stop_requested), float(data is None)
    *numbers, stops, ends = run.trainer.ranks.all_reduce([*tally.to_numbers(), asked, absent], f"step {step + 1}")
    return StepCounts.from_sums(numbers), "stopped" if stops else "no data" if ends else "done"


def _build_log_line(
    run: TrainingRun,
    step: int,
    outcome: StepResult,
    lr: dict[str, float],
    tally: StepCounts,
    seen: dict[str, int],
    cursor: Cursor,
    seconds: float,
) -> dict[str, Any]:
    """Builds a step's log line. `left_out` and `split` count all steps so far, since most lines may go unwritten."""
    trainer = run.trainer
    counts = asdict(tally)
    for name in ("flops", "data_wait_seconds"):
        del counts[name]
    return {
        "step": step,
        "loss": outcome.loss,
        "losses": outcome.average_by_source(trainer.recipe.sources),
        "lr": lr,
        "gradient_norm": outcome.gradient_norm,
        **counts,
        "cursor": [cursor.window, cursor.pack],
        "left_out": select_counts(seen, "left_out"),
        "split": select_counts(seen, "split"),
        **compute_rates(tally, seconds, trainer.ranks.world_size, run.peak_flops),
        "memory": measure_peak_memory(trainer.ranks.device),
    }


def select_counts(seen: dict[str, int], kind: str) -> dict[str, int]:
    """Returns the counts in `seen` of one kind, `left_out` or `split`, by the name behind the kind."""
    return {name.removeprefix(f"{kind}/"): count for name, count in seen.items() if name.startswith(f"{kind}/")}


def _add_to_seen(seen: dict[str, int], tally: StepCounts, data: StepData) -> dict[str, int]:
    found = Counter(seen)
    found.update({name: getattr(tally, name) for name in _SEEN_TOTALS})
    for kind, counts in (("left_out", data.left_out), ("split", data.split)):
        found.update({f"{kind}/{name}": count for name, count in counts.items()})
    return dict(found)


def _read_last_losses(folder: Path) -> dict[str, float]:
    lines = read_metrics(folder)
    return lines[-1]["losses"] if lines else {}
