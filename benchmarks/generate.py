"""Compares generation with transformers' own `generate` on the same weights: tokens per second, and time to the first.

    python benchmarks/generate.py [--device cpu|cuda] [--batch 1 8] [--new 32] [--rounds 7] [--threads 2] [--clock cpu]

The model has 123 million random parameters: a SigLIP of six layers, a perceiver and a Phi-3 of eight. Each prompt is an
image and a text, in a batch of 33 to 96 tokens beside the image's 64. Both sides embed image and text by the same
modules; transformers' `generate` gets these embeddings. Both are greedy, and no end token comes. The sides take turns
in one process, and the figures are medians: of each side, and of the ratios within a turn. Tokens per second are those
of a whole call. The time to the first token is that of a call for one token. Where the answers differ, nothing is
compared. On a busy machine `--clock cpu`, with one thread, compares CPU time, which waiting for a core does not alter.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import GenerationConfig

from training.batch import PADDING
from training.inference import move_to_device
from training.model.config import ModelOptions
from training.model.generate import GenerateOptions, Prompt, answer_batch, build_prompt_batch
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer, load_tokenizer

VOCABULARY = 32064
SPECIAL = ("<|endoftext|>", "<pad>", "<image>", "<image placeholder>", "<|endofchunk|>")
VISION = {"image_size": 224, "patch_size": 14, "hidden_size": 384, "intermediate_size": 1536}
LANGUAGE = {
    "model_type": "phi3",
    "vocab_size": VOCABULARY,  # with the special tokens, so that transformers' head has all of them
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "max_position_embeddings": 4096,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
TEXT_TOKENS = (33, 96)  # the fewest and the most of a prompt
Side = Callable[[Sequence[Prompt], int], list[str]]


@dataclass(frozen=True, slots=True)
class Turn:
    """Holds the seconds of both sides, ours first, for the same work."""

    whole: tuple[float, float]
    first: tuple[float, float]


def main() -> None:
    """Measures each batch size and prints a line for each figure."""
    options = read_options()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory() as scratch:
        model, tokenizer = build_model(Path(scratch), options.device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    where = f"{options.device}, {options.threads} threads, {options.clock} time"
    print(f"{parameters:,} parameters, {where}, {options.new} new tokens")
    print("batch  figure             ours  transformers  ratio (median; least to most of the turns)")
    for size in options.batch:
        prompts = make_prompts(size, tokenizer)
        ours, theirs = make_own_side(model, tokenizer), make_their_side(model, tokenizer)
        if ours(prompts, options.new) != theirs(prompts, options.new):  # which warms both up, too
            raise SystemExit(f"batch {size}: the answers differ, so that the two did not do the same work")
        turns = [take_turn(ours, theirs, prompts, options.new, number, clock) for number in range(options.rounds)]
        report(size, options.new, turns)


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    return parser.parse_args()


def build_model(scratch: Path, device: str) -> tuple[ResamplerLMM, TextTokenizer]:
    """Builds the model on the device, in bf16 on a GPU, and its tokenizer."""
    words = VOCABULARY - len(SPECIAL)
    tokenizer = Tokenizer(BPE({f"<{number}>": number for number in range(words)}, []))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(scratch / "tokenizer.json"))
    options = ModelOptions.model_validate(
        {
            "vision": {"config": VISION | {"num_hidden_layers": 6, "num_attention_heads": 6}},
            "connector": {"kind": "perceiver", "depth": 2, "heads": 8, "head_dim": 64, "latents": 64},
            "language": {"config": LANGUAGE},
            "tokenizer": str(scratch),
            "head_bias": False,
        }
    )
    return move_to_device(ResamplerLMM.build(options).eval(), device), load_tokenizer(options)


def make_prompts(size: int, tokenizer: TextTokenizer) -> list[Prompt]:
    """Returns prompts of an image and a text each; that of the first is the longest."""
    numbers = np.random.default_rng(0)
    least, most = TEXT_TOKENS
    lengths = [most, *numbers.integers(least, most + 1, size - 1).tolist()]
    words = tokenizer.vocabulary_size - len(SPECIAL)
    pixels = numbers.integers(0, 256, (size, 224, 224, 3), dtype=np.uint8)
    return [
        [Image.fromarray(image), *numbers.integers(0, words, length).tolist()]
        for image, length in zip(pixels, lengths, strict=True)
    ]


def make_own_side(model: ResamplerLMM, tokenizer: TextTokenizer) -> Side:
    """Returns the generation of `shardloom generate` and `evaluate model`."""

    def run(prompts: Sequence[Prompt], new: int) -> list[str]:
        answers = answer_batch(model, tokenizer, prompts, GenerateOptions(max_new_tokens=new))
        assert all(answer.tokens == new for answer in answers), "an end token came"
        return [answer.text for answer in answers]

    return run


def make_their_side(model: ResamplerLMM, tokenizer: TextTokenizer) -> Side:
    """Returns the generation of transformers, after the same preparation."""
    lm = model.language.lm

    @torch.inference_mode()
    def run(prompts: Sequence[Prompt], new: int) -> list[str]:
        batch = build_prompt_batch(model, tokenizer, prompts).to(model.device)
        embeddings = model.splice(model.language.embed(batch.tokens), model.embed_images(batch), batch)
        config = GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=tokenizer.special.pad)
        mask = (batch.segments != PADDING).long()
        ids = lm.generate(inputs_embeds=embeddings, attention_mask=mask, generation_config=config)
        return [tokenizer.decode(row, keep_special=False) for row in ids.tolist()]

    return run


def take_turn(
    ours: Side, theirs: Side, prompts: Sequence[Prompt], new: int, number: int, clock: Callable[[], float]
) -> Turn:
    """Times both sides; the one that goes first changes from turn to turn."""
    whole, first = {}, {}
    for side in (ours, theirs) if number % 2 == 0 else (theirs, ours):
        first[side] = measure(side, prompts, 1, clock)
        whole[side] = measure(side, prompts, new, clock)
    return Turn((whole[ours], whole[theirs]), (first[ours], first[theirs]))


def measure(side: Side, prompts: Sequence[Prompt], new: int, clock: Callable[[], float]) -> float:
    """Returns the seconds of one call; its answers are on the host, so that a GPU has finished."""
    started = clock()
    side(prompts, new)
    return clock() - started


def report(size: int, new: int, turns: Sequence[Turn]) -> None:
    """Prints the medians; a ratio over 1 means that ours is the faster."""
    for name, pairs, work in (
        ("tokens/s", [turn.whole for turn in turns], size * new),
        ("first token, ms", [turn.first for turn in turns], None),
    ):
        ours, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        shown = [1000 * ours, 1000 * theirs] if work is None else [work / ours, work / theirs]
        ratios = sorted(pair[1] / pair[0] for pair in pairs)
        spread = f"{statistics.median(ratios):.2f}; {ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{size:5}  {name:15}  {shown[0]:6.1f}  {shown[1]:12.1f}  {spread}")


if __name__ == "__main__":
    main()
