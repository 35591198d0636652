"""Trains the demo detector from scratch: `python -m curation.demo_detector.train --output FOLDER`.

It has one stage, on scenes that are drawn during training, none of them twice. The result is the model after the last
step.
"""

import argparse
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from transformers import GroundingDinoForObjectDetection

from curation.demo_detector import model as small
from curation.demo_detector.batches import SceneBatch, SceneBatches
from curation.demo_detector.losses import compute_detection_loss, predict
from curation.demo_detector.score import score
from curation.engines.boxes.grounding_dino import GroundingDino
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from schemas.terminal import print_result

SEED: Final = 20
STEPS: Final = 4000
BATCH_SIZE: Final = 16
LEARNING_RATE: Final = 6e-4  # peak learning rate
WARM_UP_STEPS: Final = 300  # steps
REPORT_STEPS: Final = 50  # steps between lines
EVALUATION_STEPS: Final = 1000  # steps between scores on 100 scenes

# Two processes of one thread, with half a batch each, wait for each other once a step. Two threads of one process do so
# thousands of times, and took 1.5 times as long on two cores that were also running other work.
PROCESSES: Final = 2


def train_detector(output: Path, steps: int = STEPS, minutes: float = math.inf, seed: int = SEED) -> None:
    """Trains and writes weights, tokenizer and processor to `output`, every `EVALUATION_STEPS` steps and at the end."""
    if torch.cuda.is_available():
        _train_rank(0, 1, "", output, steps, minutes, seed)
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments = (PROCESSES, f"file://{folder}/meeting", output, steps, minutes, seed)
        spawn(_train_rank, arguments, PROCESSES)  # type: ignore[no-untyped-call]


def _train_rank(
    rank: int, processes: int, rendezvous: str, output: Path, steps: int, minutes: float, seed: int
) -> None:
    """Trains on one process's share of every batch. All end with the same weights; the first reports and saves."""
    device = torch.device("cuda" if processes == 1 else "cpu")
    if processes > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=processes)
    model = small.build_detector(seed).train()
    model.to(device)
    optimizer = _build_optimizer(model)
    batches = SceneBatches(small.build_processor(), small.build_tokenizer(), f"train {seed}")
    start, losses, parent = time.monotonic(), [], os.getppid()
    for step in range(1, steps + 1):
        done = _broadcast(max(step / steps, (time.monotonic() - start) / 60 / minutes), processes)
        batch = batches.draw(step, range(rank, BATCH_SIZE, processes)).to(device)
        losses.append(
            _train_step(model, optimizer, batch, min(1, step / WARM_UP_STEPS) * _compute_lr_factor(done), processes)
        )
        if rank == 0 and step % REPORT_STEPS == 0:
            _report(step, steps, done, time.monotonic() - start, losses)
        if rank == 0 and (step % EVALUATION_STEPS == 0 or done >= 1):
            small.save(model, output)
            found = score(GroundingDino(GroundingDinoSettings(weights=str(output))), 100, seed=0)
            print_result(f"step {step}  F1 {found.f1:.3f}  mean IoU {found.mean_overlap:.3f} on 100 scenes")
        if done >= 1 or os.getppid() != parent:  # the parent process has ended
            break
    if rank == 0:
        print_result(
            f"{(time.monotonic() - start) / 60:.1f} min, {processes} x {time.process_time() / 60:.1f} min of CPU",
        )
    if processes > 1:
        dist.destroy_process_group()


def _broadcast(done: float, processes: int) -> float:
    """Broadcasts the first process's figure, so that all take the same step and stop together."""
    if processes == 1:
        return done
    figure = torch.tensor(done, dtype=torch.float64)
    dist.broadcast(figure, 0)
    return figure.item()


def _build_optimizer(model: GroundingDinoForObjectDetection) -> torch.optim.AdamW:
    matrices = [one for one in model.parameters() if one.ndim >= 2]
    others = [one for one in model.parameters() if one.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)


def _train_step(
    model: GroundingDinoForObjectDetection,
    optimizer: torch.optim.Optimizer,
    batch: SceneBatch,
    lr_factor: float,
    processes: int = 1,
) -> float:
    """Takes one step at this share of the learning rate. Returns this process's loss."""
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * lr_factor
    total = compute_detection_loss(predict(model, batch), batch)
    optimizer.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    if processes > 1:
        slopes = [one.grad for one in model.parameters() if one.grad is not None]
        flat = nn.utils.parameters_to_vector(slopes)
        dist.all_reduce(flat)
        nn.utils.vector_to_parameters(flat / processes, slopes)
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return total.item()


def _compute_lr_factor(done: float) -> float:
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, done))) / 2


def _report(step: int, steps: int, done: float, elapsed: float, losses: list[float]) -> None:
    mean, rate, left = sum(losses) / len(losses), step * BATCH_SIZE / elapsed, elapsed * (1 / done - 1) / 60
    print_result(f"step {step}/{steps}  loss {mean:.3f}  {rate:.0f} scenes/s  {left:.1f} min left")
    losses.clear()


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Trains the demo detector from scratch on scenes drawn as it goes.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after this time, with fewer steps")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    train_detector(options.output, options.steps, options.minutes, options.seed)


if __name__ == "__main__":
    main()
