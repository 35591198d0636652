"""Measures images/s of `GroundingDino` against the loop in transformers' documentation and an arithmetic floor.

    python benchmarks/grounding_dino.py [--device cpu|cuda] [--sizes 384x512] [--batches 1,4] [--images 4] [--names 16]
                                        [--short 800]

The network is the published one (Swin-T, BERT-base, 900 queries) with random weights: it finds nothing useful, in the
published time. `--sizes` are those of the pictures, height x width; the network sees them with a shorter side of
`--short`. The loop processes one image per call: processor, model, post-processing, in fp32. The floor is the time for
the arithmetic of one forward pass at the rate at which this device multiplies large matrices in bf16. On a CPU there is
one thread, as in the pipeline, and its CPU time counts; the defaults are small enough to finish in three minutes. For a
GPU, use `--short 800 --batches 1,4,16 --images 64`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertTokenizer, GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoProcessor
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.utils import logging

from curation.engines.boxes.grounding_dino import GroundingDino
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.images.decode import RgbImage

MATRIX = {"cpu": 1024, "cuda": 8192}  # side of the matrices whose product gives the rate


def save_random_weights(folder: Path, short: int, names: list[str]) -> None:
    """Saves the published network with random weights, a tokenizer that knows the names, and an image processor."""
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(GroundingDinoConfig()).save_pretrained(folder)
    vocabulary = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    vocabulary |= {f"[unused{n}]": n for n in range(1030) if n not in vocabulary.values()}
    vocabulary |= {name: 1030 + n for n, name in enumerate(names)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": short, "longest_edge": short * 1333 // 800}).save_pretrained(
        folder
    )


def plain_loop(folder: Path, device: str, images: list[RgbImage], names: list[str]) -> Callable[[], None]:
    """Returns the loop of transformers' documentation, with the image processor that needs no torchvision."""
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    )
    model = GroundingDinoForObjectDetection.from_pretrained(folder).to(device)

    def run() -> None:
        for image in images:
            inputs = processor(images=image, text=[names], return_tensors="pt").to(device)
            with torch.no_grad():
                outputs = model(**inputs)
            processor.post_process_grounded_object_detection(
                outputs, threshold=0.3, text_threshold=0.25, target_sizes=[image.shape[:2]]
            )

    return run


def engine(folder: Path, device: str, precision: str, batch: int) -> GroundingDino:
    """Returns the engine with these settings."""
    settings = {"weights": str(folder), "device": device, "precision": precision, "rows_per_pass": batch}
    return GroundingDino(GroundingDinoSettings.model_validate(settings))


def seconds(run: Callable[[], Any], device: str) -> float:
    """Returns the seconds of one run.

    On a CPU this is the CPU time of the one thread, which other processes do not affect; on a GPU it is the wall clock
    of a second run.
    """
    if device == "cpu":
        start = time.process_time()
        run()
        return time.process_time() - start
    run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def multiplications(device: str) -> float:
    """Returns the FLOP/s of products of large bf16 matrices, the best of several."""
    side = MATRIX[device]
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / min(seconds(lambda: left @ right, device) for _ in range(5))


def forward_flops(finder: GroundingDino, image: RgbImage, names: list[str]) -> int:
    """Counts the FLOPs of one forward pass."""
    with FlopCounterMode(display=False) as counter:
        finder.annotate([image], [names])
    return int(counter.get_total_flops())


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", default="384x512", help="heights x widths of the pictures, separated by commas")
    parser.add_argument("--batches", default="1,4", help="prompts per forward pass, separated by commas")
    parser.add_argument("--images", type=int, default=4, help="pictures per measurement")
    parser.add_argument("--names", type=int, default=16, help="names to search for, one token each")
    parser.add_argument("--short", type=int, default=320, help="shorter side that the network sees; published: 800")
    arguments = parser.parse_args()
    device, batches = arguments.device, [int(batch) for batch in arguments.batches.split(",")]
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    names = [f"thing{chr(97 + number % 26)}{number // 26}" for number in range(arguments.names)]
    rate = multiplications(device)
    print(f"{device}, shorter side {arguments.short}, {len(names)} names;", end=" ")
    print(f"bf16 products {rate / 1e12:.3f} TFLOP/s\n")
    print(f"{'picture':10} {'how':32} {'s/image':>8} {'images/s':>9} {'x loop':>7} {'x floor':>8}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_random_weights(folder, arguments.short, names)
        for size in arguments.sizes.split(","):
            height, width = map(int, size.split("x"))
            rng = np.random.default_rng(0)
            images = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(arguments.images)]
            floor = forward_flops(engine(folder, device, "fp32", 1), images[0], names) / rate
            loop = seconds(plain_loop(folder, device, images, names), device) / len(images)

            def row(how: str, each: float, size: str = size, loop: float = loop, floor: float = floor) -> None:
                speed = f"{each:8.3f} {1 / each:9.2f} {loop / each:7.2f} {each / floor:8.1f}"
                print(f"{size:10} {how:32} {speed}", flush=True)

            row("loop of the documentation, fp32", loop)
            for precision in ("fp32", "bf16"):
                for batch in batches:
                    finder = engine(folder, device, precision, batch)
                    took = seconds(lambda f=finder, i=images: f.annotate(i, [names] * len(i)), device)
                    row(f"engine, {precision}, {batch} a pass", took / len(images))
            prepared = seconds(
                lambda f=finder, i=images: [f._preprocess(i, f._compute_size(one), n) for n, one in enumerate(i)],
                device,
            )
            row("of which pictures are prepared", prepared / len(images))
            row(f"floor, {floor * rate / 1e9:.0f} GFLOP", floor)


if __name__ == "__main__":
    main()
