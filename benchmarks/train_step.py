"""Measures training steps: tokens and images per second, the share of the machine's arithmetic (MFU), and its floor.

    python benchmarks/train_step.py [--model tiny|4b] [--device cpu|cuda] [--steps 10] [--micro 1] [--sequences 2]
    python benchmarks/train_step.py --within 10

`tiny` is recipes/train/tiny.yaml unchanged; `4b` is SigLIP-so400m, the perceiver and Phi-3-mini with random weights, in
bf16 at 4,096 positions, with a frozen tower. Batches are synthetic, in memory: packs of samples of one picture and a
text, as full as a packer makes them. A whole step is timed: forward and backward passes, clipping, AdamW. The floor is
the time for the step's arithmetic (`training.flops`: nothing counts that is recomputed to save memory) at the rate of a
large matrix product, measured just before in the same precision; MFU is that floor over the step's time.

`--within` runs the settings of `VARIANTS` for so many minutes at most, each in a process of its own, and tells the best
MFU: on a GPU the 4B model with flex attention, elsewhere the tiny one. A setting whose memory does not fit is told and
left.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE

from training.batch import IGNORE_INDEX, Batch, SampleName
from training.flops import build_flop_counter, count_tokens, measure_peak_flops
from training.metrics import measure_peak_memory
from training.optimizer import make_optimizer
from training.parallel import Ranks, parallelize
from training.recipe import TrainRecipe, load_train_recipe
from training.set_up import prepare_model
from training.step import Trainer, count_labels, take_step

RECIPES = Path(__file__).parents[1] / "recipes/train"
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
TEXT = {"tiny": 16, "4b": 64}  # text tokens per sample
VARIANTS = (
    ("--micro", "1"),
    ("--micro", "1", "--compile"),
    ("--micro", "2", "--compile"),
    ("--micro", "4", "--compile", "--recompute"),
)
"""Settings in the order of the memory that they need. Recomputation is no work that counts, so it lowers the MFU."""
AIM = 0.5  # MFU
_MFU = re.compile(r"MFU ([\d.]+)%")


def recipe_of(name: str, scratch: Path, options: argparse.Namespace) -> TrainRecipe:
    """Returns the recipe, overridden by the options."""
    changes = [f"micro_batch_size={options.micro}", f"global_batch_size={options.sequences}"]
    changes += [f"activation_checkpointing={options.recompute}", f"compile={options.compile}"]
    if name == "tiny":
        return load_train_recipe(
            str(RECIPES / "tiny.yaml"), [*changes, f"model.tokenizer={RECIPES / 'tiny/tokenizer.json'}"]
        )
    tokenizer = Tokenizer(BPE({f"piece {number}": number for number in range(32000)}, []))
    tokenizer.add_special_tokens(["<|endoftext|>", *(f"<|{number}|>" for number in range(10))])
    tokenizer.save(str(scratch / "tokenizer.json"))
    changes += ["model.vision={config: {}}", "model.language={config: {model_type: phi3, sliding_window: 2047}}"]
    changes += [f"model.vision.config.{key}={value}" for key, value in SO400M.items()]
    changes += [f"model.attention={options.attention}", "parallel=none"]
    return load_train_recipe(str(RECIPES / "pretrain_4b.yaml"), [*changes, f"model.tokenizer={scratch}"])


def made_up(recipe: TrainRecipe, image: int, side: int, cells: int, text: int) -> Batch:
    """Returns a synthetic micro-batch of sequences full of samples: a picture, then `text` tokens to train on."""
    tile, length = recipe.model.connector.count_tokens_per_tile(cells), recipe.data.sequence_length
    sample, rows = tile + text, recipe.micro_batch_size
    number = torch.arange(length) // sample
    place = torch.arange(length) % sample
    is_image = (place < tile) & (number < length // sample)
    pictures = length // sample
    words = torch.randint(5, 2000, (rows, length))
    ids = words.where(~is_image, image)
    labels = ids.roll(-1, dims=1).where((place < sample - 1) & (place >= tile - 1), IGNORE_INDEX)
    names = tuple(SampleName("made up", "none", str(each)) for each in range(pictures + 1))
    return Batch(
        tokens=ids,
        labels=labels,
        positions=place.expand(rows, -1).contiguous(),
        segments=number.expand(rows, -1).contiguous(),
        sources=torch.zeros((rows, length), dtype=torch.int64),
        instructions=(~is_image).expand(rows, -1).contiguous(),
        tiles=torch.randint(0, 256, (rows * pictures, 3, side, side), dtype=torch.uint8),
        valid=torch.ones((rows * pictures, cells), dtype=torch.bool),
        grids=torch.zeros((rows * pictures, 2), dtype=torch.int64),
        samples=(names,) * rows,
    )


def main() -> None:
    """Reads the command line, and measures one setting or several."""
    options = _options()
    if options.within is None:
        measure(options)
    else:
        compare(options, time.monotonic() + 60 * options.within)


def compare(options: argparse.Namespace, deadline: float) -> None:
    """Measures the variants one after another until the deadline, and prints the best MFU."""
    on_gpu = torch.device(options.device).type == "cuda"
    common = ["--device", options.device, "--attention", "flex_attention" if on_gpu else "sdpa"]
    common += ["--sequences", "4", "--steps", str(options.steps), "--warmup", str(options.warmup)]
    common += ["--model", options.model] if options.model else []
    found: dict[str, float] = {}
    for variant in VARIANTS:
        command, said = [sys.executable, __file__, *common, *variant], " ".join(variant)
        print(f"== {said}", flush=True)
        try:
            left = max(1.0, deadline - time.monotonic())
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            print("not finished in time", flush=True)
            break
        print(done.stdout if done.returncode == 0 else done.stderr.strip().split("\n")[-1], flush=True)
        if match := _MFU.search(done.stdout):
            found[said] = float(match[1]) / 100
    if found:
        best = max(found, key=lambda variant: found[variant])
        print(f"best         MFU {found[best]:.1%} ({best}); the aim is {AIM:.0%} or more")


def measure(options: argparse.Namespace) -> None:
    """Times the steps of one setting and prints the figures."""
    device = torch.device(options.device)
    name = options.model or ("4b" if device.type == "cuda" else "tiny")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        recipe = recipe_of(name, Path(scratch), options)
        model = prepare_model(recipe, str(device))
    flops = build_flop_counter(model)
    ranks = Ranks(device=device)
    whole = parallelize(model, recipe, ranks)
    optimizer = make_optimizer(whole, recipe.optimizer, recipe.optimizer.lr)
    trainer = Trainer(recipe, ranks, whole.train(), optimizer, torch.ones(len(recipe.sources), device=device))
    for group in optimizer.param_groups:
        group["lr"] = 1e-5
    image, tower = model.special.image, model.vision
    sizes = (image, tower.image_size, tower.cells, TEXT[name])
    batches = [made_up(recipe, *sizes) for _ in range(recipe.global_batch_size // recipe.micro_batch_size)]
    held = [batch.to(device) for batch in batches]
    peak = measure_peak_flops(device, recipe.precision, seconds=2.0)
    times = [_timed(trainer, held, number) for number in range(options.warmup + options.steps)][options.warmup :]
    step, best = statistics.median(times), min(times)
    work, filled, images = flops.count(batches), sum(map(count_tokens, batches)), sum(len(b.grids) for b in batches)
    print(
        f"model        {name}: {sum(p.numel() for p in model.parameters()):,} parameters, {recipe.precision}, {device}"
    )
    print(f"a step       {filled:,} tokens, {images} images, {count_labels(batches):,} labels, {work / 1e12:.4g} TFLOP")
    print(f"step         median {step:.3f} s, best {best:.3f} s of {options.steps}")
    print(f"rates        {filled / step:,.0f} tokens/s, {images / step:,.1f} images/s")
    print(f"matrices     {peak / 1e12:.4g} TFLOP/s in a large product")
    utilization = f"MFU {work / peak / step:.1%}, of the best step {work / peak / best:.1%}"
    if work / peak / best > 1:
        utilization = "no MFU: it would be over 1, so the product was measured too slow, on a busy device"
    print(f"floor        {work / peak:.3f} s; {utilization}")
    print(f"memory       {measure_peak_memory(device) / 1e9:.2f} GB")


def _timed(trainer: Trainer, batches: list[Batch], number: int) -> float:
    started = time.perf_counter()
    take_step(trainer, batches, count_labels(batches), number)
    if trainer.ranks.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _options() -> Any:
    parser = argparse.ArgumentParser(description="Measures training steps.")
    parser.add_argument("--model", choices=["tiny", "4b"], help="default: 4b on a GPU, else tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--micro", type=int, default=1)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--attention", default="sdpa", help="attention of the language model: sdpa or flex_attention")
    parser.add_argument("--within", type=float, help="minutes in which to compare several settings")
    parser.add_argument("--recompute", action="store_true", help="use activation checkpointing")
    parser.add_argument("--compile", action="store_true", help="use torch.compile on every layer")
    return parser.parse_args()


if __name__ == "__main__":
    main()
