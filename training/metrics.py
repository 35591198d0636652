"""Logs a run: a JSON line per step, progress on the terminal, and TensorBoard or Weights & Biases if asked.

`metrics.jsonl` holds each step once: a run that resumes from step 1,000 first removes the lines of later steps.
"""

import contextlib
import importlib.util
import json
import logging
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console  # noqa: TID251  the bar shows numbers only
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from schemas.activity import report_activity
from schemas.errors import ShardloomError, UsageError
from schemas.log import LOG, is_shown
from schemas.moving_rate import MovingRate
from schemas.terminal import format_duration
from training.batch import Batch
from training.data.assemble import BadSample
from training.flops import FlopCounter, count_tokens
from training.parallel import Ranks
from training.recipe import TrainRecipe
from training.step import count_labels

METRICS_FILE, BAD_SAMPLES_FILE = "metrics.jsonl", "bad_samples.jsonl"
MIN_SAMPLES_FOR_BAD_SHARE = 1000  # samples: the share of bad ones is computed over at least this number


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Counts what a step consists of, before it is taken: on one rank, or by `from_sums` on all ranks."""

    labels: int = 0  # positions that enter the loss
    tokens: int = 0  # positions that are not padding
    positions: int = 0
    images: int = 0
    tiles: int = 0
    samples: int = 0
    bad_samples: int = 0  # samples that could not be read
    flops: float = 0.0
    data_wait_seconds: float = 0.0  # seconds spent waiting for data; summed over ranks

    @classmethod
    def from_batches(
        cls, batches: list[Batch], flops: FlopCounter, bad_samples: int, data_wait_seconds: float
    ) -> "StepCounts":
        """Counts this rank's micro-batches."""
        return cls(
            labels=count_labels(batches),
            tokens=sum(count_tokens(batch) for batch in batches),
            positions=sum(batch.tokens.numel() for batch in batches),
            images=sum(len(batch.grids) for batch in batches),
            tiles=sum(len(batch.tiles) for batch in batches),
            samples=sum(len(row) for batch in batches for row in batch.samples) + bad_samples,
            bad_samples=bad_samples,
            flops=flops.count(batches),
            data_wait_seconds=data_wait_seconds,
        )

    def to_numbers(self) -> list[float]:
        """Returns the values in the order of the fields, to be summed over ranks."""
        return [float(getattr(self, field.name)) for field in fields(self)]

    @classmethod
    def from_sums(cls, numbers: Sequence[float]) -> "StepCounts":
        """Builds the tally of all ranks from the sums of their `numbers`."""
        values = zip(fields(cls), numbers, strict=True)
        return cls(**{field.name: field.type(value) for field, value in values})  # type: ignore[operator]


def check_trackers(recipe: TrainRecipe) -> None:
    """Raises `UsageError` when a package that `run.log_to` names is not installed."""
    for name in recipe.run.log_to:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"run.log_to: {name} is not installed; pip install {name}, or leave it out")


class MetricsLogger:
    """Writes the run's log on the first rank; the other ranks only record their bad samples."""

    def __init__(self, folder: Path, recipe: TrainRecipe, step: int, steps: int, is_first: bool) -> None:
        """Prepares the log of a run of `steps` steps that continues after `step`."""
        self.folder, self.recipe, self.first_step, self.is_first = folder, recipe, step, is_first
        self.steps = steps
        self._trackers: list[Any] = []
        self._has_write_failed = self._is_peak_wrong = False
        self._rate: MovingRate | None = None  # from the end of the first step on: start-up does not count
        self._progress = "waiting for the first step"
        self._stack = contextlib.ExitStack()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.is_first:
            truncate_after_step(self.folder / METRICS_FILE, self.first_step)
            if (self.folder / BAD_SAMPLES_FILE).exists():
                truncate_after_step(self.folder / BAD_SAMPLES_FILE, self.first_step)
            self._file = (self.folder / METRICS_FILE).open("a", buffering=1)
            self._trackers = [_build_tracker(name, self.folder, self.recipe) for name in self.recipe.run.log_to]
        if self.is_first and is_shown(logging.INFO) and sys.stderr.isatty():
            columns = (TextColumn("training"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=self.steps, completed=self.first_step, told="")
            self._stack.enter_context(self._bar)
        if self.is_first:
            line = report_activity(lambda _: f"training: {self._progress}", is_on_screen=self._bar is not None)
            self._stack.enter_context(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self.is_first:
            with contextlib.suppress(OSError):  # flushing the buffer fails on a full disk
                self._file.close()
        for board in self._trackers:
            board.close()

    def log(self, line: dict[str, Any]) -> None:
        """Logs one step's figures; the line's `step` is the number of finished steps."""
        if not self.is_first:
            return
        line = self._drop_false_mfu(line)
        step = line["step"]
        if step % self.recipe.run.log_every == 0 or step == self.steps:
            self._write(json.dumps(line) + "\n")
            for board in self._trackers:
                board.log(_flatten(line), step)
        self._show_progress(line)

    def _drop_false_mfu(self, line: dict[str, Any]) -> dict[str, Any]:
        """Returns the line without its MFU once one has been over 1, which proves the peak wrong for all steps."""
        mfu = line.get("mfu")
        if mfu is not None and mfu > 1 and not self._is_peak_wrong:
            self._is_peak_wrong = True
            peak = "measured (on a busy device?)" if self.recipe.run.peak_tflops is None else "in run.peak_tflops"
            LOG.warning(
                f"training: step {line['step']:,} has an MFU of {mfu:.2f}, but 1 is the most: the peak {peak} is too "
                "low; set run.peak_tflops to the device's; mfu is null from here on"
            )
        return line | {"mfu": None} if self._is_peak_wrong else line

    def _write(self, text: str) -> None:
        """Appends to `metrics.jsonl`; a full disk is reported once and does not end the run."""
        try:
            self._file.write(text)
        except OSError as error:
            if not self._has_write_failed:
                LOG.warning(f"cannot write {self.folder / METRICS_FILE}: {error.strerror}; training continues")
            self._has_write_failed = True

    def record_bad_samples(self, step: int, bad_samples: list[BadSample], seen: dict[str, int], ranks: Ranks) -> None:
        """Appends this rank's bad samples of a step to `bad_samples.jsonl`.

        Raises `ShardloomError` on all ranks when there are too many: `seen` counts bad and all samples of all ranks.
        """
        if bad_samples:
            with contextlib.suppress(OSError), (self.folder / BAD_SAMPLES_FILE).open("a") as file:  # one write per rank
                file.write("".join(json.dumps({"step": step, **asdict(fault)}) + "\n" for fault in bad_samples))
        most = self.recipe.data.max_bad_samples
        if seen["bad_samples"] <= most * max(seen["samples"], MIN_SAMPLES_FOR_BAD_SHARE):
            return
        for fault in bad_samples[:1]:
            LOG.error(f"rank {ranks.rank}: {fault.source} {fault.shard} {fault.key}: {fault.reason}")
        raise ShardloomError(
            f"{seen['bad_samples']:,} of {seen['samples']:,} samples can't be read, more than data.max_bad_samples "
            f"({most:g}): {self.folder / BAD_SAMPLES_FILE} names them; "
            "to train without them, set a higher one and resume with --resume auto"
        )

    def _show_progress(self, line: dict[str, Any]) -> None:
        step, steps = line["step"], self.steps
        if self._rate is None:
            self._rate = MovingRate(step)
        self._rate.record(step)
        rate = self._rate.compute()
        left = f", {format_duration((steps - step) / rate)} left" if rate else ""
        self._progress = f"step {step:,}/{steps:,}, loss {line['loss']:.4f}, {line['tokens_per_second']:,.0f} tokens/s"
        self._progress += left
        if self._bar is not None:
            self._bar.update(self._task, completed=step, told=self._progress)
        if step == steps:
            LOG.info(f"training: {self._progress}", extra={"is_on_screen": self._bar is not None})


def compute_rates(tally: StepCounts, seconds: float, world_size: int, peak_flops: float) -> dict[str, float]:
    """Computes the rates of a step that took `seconds`; `peak_flops` is one device's, in operations per second."""
    return {
        "seconds": seconds,
        "tokens_per_second": tally.tokens / seconds,
        "images_per_second": tally.images / seconds,
        "padding": 1 - tally.tokens / max(tally.positions, 1),
        "data_wait": tally.data_wait_seconds / (world_size * seconds),
        "mfu": tally.flops / (seconds * world_size * peak_flops),
    }


def measure_peak_memory(device: torch.device) -> int:
    """Returns the peak memory so far in bytes: of the GPU if there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else 1024 * kilobytes


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Reads the lines of a run's log."""
    return read_lines(folder / METRICS_FILE)


def truncate_after_step(path: Path, step: int) -> None:
    """Removes a log's lines of steps after `step`, because the run takes these steps again."""
    kept = [line for line in read_lines(path) if line["step"] <= step]
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
    temporary.replace(path)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of JSON lines, and skips a line that a kill has cut off."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _flatten(line: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers that a board can plot, by name; those of a group are named like `losses/docs`."""
    found: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, dict):
            found |= {f"{name}/{key}": inner for key, inner in value.items()}
        elif name != "step" and isinstance(value, int | float):  # the cursor is a list
            found[name] = value
    return found


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, recipe: TrainRecipe) -> None:
        import wandb  # type: ignore[import-not-found,unused-ignore]

        os.environ.setdefault("WANDB_SILENT", "true")
        self._run = wandb.init(dir=str(folder), project="shardloom", config=recipe.resolve())

    def log(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


def _build_tracker(name: str, folder: Path, recipe: TrainRecipe) -> _TensorBoard | _Wandb:
    return _TensorBoard(folder) if name == "tensorboard" else _Wandb(folder, recipe)
