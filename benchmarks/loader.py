"""Measures the trainer's loader against WebDataset with a torch DataLoader: samples/s, tokens/s, time to first batch.

    python benchmarks/loader.py [--images GLOB] [--workers 2] [--samples 2000] [--rounds 3]

`shardloom ingest datacomp` first makes training shards from the images. Both loaders read these shards repeatedly, from
the page cache; decode, resize to 384 pixels and tokenise; and send batches of about equally many samples to the main
process. Shardloom's loader also packs, and reads samples one by one in the order of a mixture; the other reads its tars
from front to back through a shuffle buffer, and pads. Rounds alternate, and the best of each counts, because on a
shared machine other processes slow the others down. The time to the first batch runs from the start of a new process.
"""

import argparse
import gc
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIDE, PATCH = 384, 14
TOKENS_PER_TILE = 128  # for the default connector
LENGTH, SEQUENCES = 4096, 4
TEXT = 64  # tokens to which the other loader pads or truncates captions
Counted = tuple[int, int]
"""Number of samples and tokens of a batch."""


def ours(folder: Path, workers: int, samples: int) -> Iterator[Counted]:
    """Yields the counts of steps of Shardloom's loader, each of four packed sequences."""
    from training.batch import PADDING
    from training.data.build import build_pack_plan
    from training.data.loader import PackLoader
    from training.data.options import DataOptions
    from training.model.config import ModelOptions
    from training.model.tokens import load_tokenizer

    options = DataOptions(
        sources={"datacomp": str(folder / "set")},
        weights={"datacomp": 1},
        repeats={"datacomp": None},
        stop=samples,
        sequence_length=LENGTH,
        cache=str(folder / "cache"),
        workers=workers,
    )
    part = {"config": {"unused": 0}}
    model = ModelOptions.model_validate({"vision": part, "language": part, "tokenizer": str(folder)})
    plan = build_pack_plan(options, model, load_tokenizer(model), SIDE, PATCH)
    loader = PackLoader(plan, global_batch_size=SEQUENCES, workers=workers, prefetch=options.prefetch)
    try:
        for step in loader.iterate_steps():
            tokens = sum(int((batch.segments != PADDING).sum()) for batch in step.batches)
            yield sum(len(row) for batch in step.batches for row in batch.samples), tokens
    finally:
        loader.close()


def other(folder: Path, workers: int, samples: int) -> Iterator[Counted]:
    """Yields the counts of batches as OpenFlamingo's loader makes them: images squashed by Pillow, captions padded."""
    import numpy as np
    import torch
    import webdataset
    from PIL import Image
    from tokenizers import Tokenizer
    from torch.utils.data import DataLoader

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(TEXT)
    tokenizer.enable_padding(length=TEXT)

    def image(picture: Image.Image) -> torch.Tensor:
        pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()

    def text(caption: str) -> torch.Tensor:
        encoding = tokenizer.encode(caption)
        return torch.tensor([encoding.ids, encoding.attention_mask])

    def stacked(batch: Any) -> Any:
        return [torch.stack(column) for column in batch]

    urls = sorted(str(path) for path in (folder / "set/data").glob("*.tar"))
    size = 100  # about as many as four packed sequences hold
    data = (
        webdataset.WebDataset(urls, resampled=True, shardshuffle=False, nodesplitter=None)
        .shuffle(1000, initial=200)
        .decode("pilrgb", handler=webdataset.ignore_and_continue)
        .to_tuple("jpg;png;webp;gif;bmp;tif;avif;jp2;ppm", "txt", handler=webdataset.ignore_and_continue)
        .map_tuple(image, text)
        .batched(size, collation_fn=lambda batch: stacked(list(zip(*batch, strict=True))))
    )
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    for images, texts in itertools.islice(loader, samples // size):
        yield len(images), int(texts[:, 1].sum()) + TOKENS_PER_TILE * len(images)


LOADERS = {"ours": ours, "webdataset": other}


def rate(name: str, folder: Path, workers: int, samples: int) -> tuple[float, float, float]:
    """Returns samples/s and tokens/s after the first batches, and CPU milliseconds per sample including the workers."""
    counts, tokens, every, begun, end = 0, 0, 0, 0.0, 0.0
    before = os.times()
    for number, (batch, said) in enumerate(LOADERS[name](folder, workers, samples)):
        every += batch
        if number == 2 * workers:
            begun = time.perf_counter()
        elif number > 2 * workers:
            counts, tokens = counts + batch, tokens + said
            end = time.perf_counter()
    gc.collect()  # some workers end only when their loader is collected
    spent = sum(os.times()[:4]) - sum(before[:4])
    return counts / (end - begun), tokens / (end - begun), 1000 * spent / every


def first(name: str, folder: Path, workers: int) -> float:
    """Returns the seconds from the start of a process to its first batch."""
    begun = time.perf_counter()
    command = [sys.executable, __file__, "--first", name, "--folder", str(folder), "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        elapsed = time.perf_counter() - begun
        process.communicate()
    if line.strip() != "first":
        raise SystemExit(f"{name} gave no batch")
    return elapsed


def prepare(images: str, folder: Path) -> None:
    """Makes the training shards, and a tokenizer from the words of their captions."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from pipelines.ingest.run import ingest
    from pipelines.recipes.ingest import IngestRecipe
    from schemas.storage.path_patterns import list_matching
    from schemas.tar.reader import TarReader

    texts = []
    for path in list_matching(images):
        with Path(path).open("rb") as file:
            texts += [s.members["txt"].data.decode("utf-8", "replace") for s in TarReader(file) if "txt" in s.members]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    recipe = IngestRecipe(source="datacomp", input=[images], samples_per_shard=200, tokenizer=str(folder))
    ingest(recipe, str(folder / "set"))


def main() -> None:
    """Reads the command line, runs the rounds and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="../shared/data/datacomp_small/*.tar")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="the training shards and tokenizer.json of an earlier run")
    parser.add_argument("--first", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first:
        batches = LOADERS[options.first](options.folder, options.workers, options.samples)
        next(batches)
        print("first", flush=True)
        batches.close()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "set").is_dir():
            prepare(options.images, folder)
        rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in LOADERS}
        starts: dict[str, list[float]] = {name: [] for name in LOADERS}
        for _ in range(options.rounds):
            for name in LOADERS:
                rates[name].append(rate(name, folder, options.workers, options.samples))
                starts[name].append(first(name, folder, options.workers))
        best = {name: max(found) for name, found in rates.items()}
        for name, (samples, tokens, _) in best.items():
            every = ", ".join(f"{found:.0f}" for found, _, _ in rates[name])
            print(
                f"{name:12}{samples:8.0f} samples/s ({every}){tokens:10.0f} tokens/s"
                f"{min(spent for _, _, spent in rates[name]):8.2f} ms of CPU a sample"
                f"{min(starts[name]):8.2f} s to the first batch"
            )
        print(f"ours / webdataset: {best['ours'][0] / best['webdataset'][0]:.2f} x the samples")


if __name__ == "__main__":
    main()
