"""Measures a pass of tags and boxes on a GPU, with OCR on the machine's cores and then on the same GPU.

    python -m benchmarks.gpu [--device cuda|cpu] [--images 1000] [--ocr cpu,cuda] [--ocr-workers 4] [--seconds 20]

Each engine is first measured bare: in processes that only call it on decoded pictures (`benchmarks/bare_engine.py`), as
many as the pass has workers. Then the pass: its images/s, and for each engine the share of the time in which its
workers were busy, and its images per busy second over the bare rate, which says what the engines cost each other.
Start-up is excluded on both sides. SigLIP (base, 224 pixels) and Grounding-DINO (Swin-T, shorter side 800) have random
weights: they find nothing useful, in the published time, and each image has the same 16 tags, which make one prompt.

OCR on the GPU needs its environment: `shardloom engines --build onnxruntime-gpu`. With `--device cpu` the networks are
tiny and all runs on the cores, to try the script: in two minutes with `--images 24 --seconds 2`.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.utils import logging

from benchmarks.bare_engine import Bare, find_missing_environment, measure
from benchmarks.grounding_dino import save_random_weights
from curation.demo_detector.vocabulary import NOUNS
from curation.engines.kinds import EngineKind
from pipelines.annotate.run import annotate
from pipelines.cluster.machine import count_cores
from pipelines.demo.shards import write_shards
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from schemas.storage.folder import Folder

NAMES = [name for name in NOUNS if " " not in name][:16]  # each one token of the random detector
OTHER_CORES = 3  # for reading and decoding, tags, boxes
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
GPU_SHARES = {"tags": 0.2, "boxes": 0.4, "ocr": 0.4}


@dataclass(frozen=True)
class Stage:
    """Describes one engine of the pass: its options, its workers, and the share of a GPU for each."""

    kind: EngineKind
    options: EngineOptions
    workers: int
    gpus: float
    label: str


def save_random_siglip(folder: Path, is_tiny: bool) -> None:
    """Saves a network with random weights, a tokenizer that knows the names, and an image processor."""
    words = ("</s>", "<unk>", "this", "is", "a", "photo", "of", *NAMES)
    config = SiglipConfig(text_config=TINY, vision_config=TINY) if is_tiny else SiglipConfig()
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 0)])
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    saved.save_pretrained(folder)


def build_stages(folder: Path, device: str, ocr_device: str, ocr_workers: int) -> list[Stage]:
    """Returns the engines of a pass, with their weights saved below the folder."""
    on_gpu = device == "cuda"
    vocabulary = folder / "names.txt"
    vocabulary.write_text("\n".join(NAMES))
    if not (folder / "siglip").exists():
        save_random_siglip(folder / "siglip", is_tiny=not on_gpu)
    tags = {"weights": f"{folder}/siglip", "vocabulary": str(vocabulary), "device": device, "caption": False}
    boxes: dict[str, Any] = {"device": device}  # on a CPU, the demonstration weights
    if on_gpu:
        if not (folder / "dino").exists():
            save_random_weights(folder / "dino", 800, NAMES)
        boxes |= {"weights": f"{folder}/dino", "rows_per_pass": 8, "side_step": 32}
    ocr: dict[str, Any] = {"lines_per_pass": 16, "device": "cuda"} if ocr_device == "cuda" else {}
    ocr_gpus = GPU_SHARES["ocr"] / ocr_workers if ocr_device == "cuda" else 0.0
    many = ocr_workers if ocr_device == "cuda" else max(1, count_cores() - OTHER_CORES)
    return [
        _make_stage("tags", "siglip", tags | {"max_tags": len(NAMES)}, 64, 1, GPU_SHARES["tags"] * on_gpu, device),
        _make_stage("ocr", "rapidocr", ocr, 64 if ocr else 16, many, ocr_gpus, ocr_device),
        _make_stage("boxes", "grounding_dino", boxes, 32 if on_gpu else 4, 1, GPU_SHARES["boxes"] * on_gpu, device),
    ]


def _make_stage(
    kind: EngineKind, engine: str, settings: dict[str, Any], batch: int, workers: int, gpus: float, device: str
) -> Stage:
    options = EngineOptions.model_validate({"engine": engine, "settings": settings, "batch_size": batch})
    return Stage(kind, options, workers, gpus, f"{kind} on {device}")


def measure_bare(stage: Stage, images: str, seconds: float) -> float | None:
    """Returns and prints images per second of the stage's workers alone; None without the engine's environment."""
    if name := find_missing_environment(stage.kind, stage.options):
        print(f"{stage.label}: not measured: shardloom engines --build {name}", flush=True)
        return None
    rate = measure(Bare(stage.kind, stage.options, images, NAMES, stage.gpus, seconds), stage.workers)
    print(f"{stage.label}: {rate:.2f} images/s of {stage.workers} bare processes", flush=True)
    return rate


def measure_pass(stages: list[Stage], images: str, output: str, bare: dict[str, float]) -> None:
    """Runs the three engines in one pass and prints its rates."""
    resources = {stage.kind: {"workers": stage.workers, "gpus": stage.gpus} for stage in stages}
    recipe = AnnotateRecipe(
        input=[f"{images}/*.tar"],
        engines={stage.kind: stage.options for stage in stages},
        run=AnnotateRun.model_validate({"resources": resources}),
    )
    annotate(recipe, output)
    counts = read_times(Folder(output)).stages
    slowest = min(counts[stage.kind]["images"] / counts[stage.kind]["working_seconds"] for stage in stages)
    print(f"together, {', '.join(stage.label for stage in stages)}: {slowest:.2f} images/s")
    for stage in stages:
        found = counts[stage.kind]
        busy = found["busy_seconds"] / max(found["offered_seconds"], 1e-9)
        rate = found["images"] / max(found["busy_seconds"], 1e-9) * stage.workers / bare[stage.label]
        print(f"  {stage.label}: busy {busy:.3f} of the time; {rate:.3f} of its bare rate while busy", flush=True)


def main() -> None:
    """Reads the command line, measures the bare engines, then the passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="of tags and boxes")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--ocr", help="devices of OCR, a pass for each; default: cpu,cuda, or cpu with --device cpu")
    parser.add_argument("--ocr-workers", type=int, default=4, help="of OCR on the GPU")
    parser.add_argument("--seconds", type=float, default=20, help="of each bare measurement")
    options = parser.parse_args()
    logging.disable_progress_bar()
    devices = (options.ocr or ("cpu" if options.device == "cpu" else "cpu,cuda")).split(",")
    with tempfile.TemporaryDirectory() as name:
        folder, bare = Path(name), dict[str, float | None]()
        images = f"{folder}/images"
        write_shards(Folder(images), options.images, per_shard=max(12, options.images // 4))
        passes = [build_stages(folder, options.device, device, options.ocr_workers) for device in devices]
        for stage in [stage for stages in passes for stage in stages]:
            if stage.label not in bare:
                bare[stage.label] = measure_bare(stage, images, options.seconds)
        for stages in passes:
            known = {stage.label: rate for stage in stages if (rate := bare[stage.label]) is not None}
            if len(known) == len(stages):
                measure_pass(stages, images, f"{folder}/annotations-{stages[1].label}", known)


if __name__ == "__main__":
    main()
