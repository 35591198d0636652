"""Models that are small enough for a test, exported for transformers, and what they should answer."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.training.support import tiny
from training.data.chat import ChatTemplate
from training.exports.formats import check_format
from training.exports.hf.write import write_hf
from training.inference import build_chat_prompt
from training.model.config import PromptOptions
from training.model.generate import GenerateOptions, build_prompt_batch, generate_batch
from training.model.lmm import ResamplerLMM
from training.model.tokens import END_OF_CHUNK, IMAGE, PLACEHOLDER, TextTokenizer, load_tokenizer

NEW_TOKENS = 6
SIZES = ((96, 48), (48, 96), (56, 56))
"""Of the pictures: two columns, two rows, and one or two tiles."""
QUESTIONS = ("What is it?", "And how many of them are there?")


@dataclass
class Made:
    """A model in training's form."""

    model: ResamplerLMM
    tokenizer: TextTokenizer
    prompts: PromptOptions

    @property
    def state(self) -> dict[str, Tensor]:
        return self.model.state_dict()


def make(tokenizer: Path, prompts: PromptOptions | None = None, **changes: Any) -> Made:
    """A model with no weight at a special initial value; `changes` as in `tiny.options`."""
    options = tiny.options(tokenizer, **changes)
    model = ResamplerLMM.build(options).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return Made(model, load_tokenizer(options), prompts or PromptOptions())


def write_whole_tokenizer(folder: Path) -> Path:
    """A tokenizer that has all tokens that images need, so that a tied head stays tied."""
    tokenizer = tiny.write_tokenizer(folder, [*tiny.ROLES, "<pad>", IMAGE, PLACEHOLDER, END_OF_CHUNK])
    path = tokenizer / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token": "<pad>"}))
    return tokenizer


def write(made: Made, folder: Path, **settings: Any) -> Path:
    check_format(made.model, "hf")
    write_hf(made.model, made.tokenizer, made.prompts, made.state, folder, **settings)
    return folder


def write_pictures(folder: Path) -> list[Path]:
    """Coarse pictures of `SIZES`, in a format without loss."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (width, height) in enumerate(SIZES):
        coarse = np.random.default_rng(number).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST).save(paths[-1])
    return paths


def conversations(paths: Sequence[Path]) -> list[list[dict[str, Any]]]:
    """One about the first picture, and one about the others, as transformers takes them."""
    groups = ([paths[0]], paths[1:])
    return [
        [{"role": "user", "content": [*({"type": "image", "path": str(path)} for path in group), words]}]
        for group, words in zip(groups, ({"type": "text", "text": text} for text in QUESTIONS), strict=True)
    ]


def expected(made: Made, paths: Sequence[Path]) -> tuple[Tensor, Tensor, list[str]]:
    """The tokens, the logits and the answers of training's own code."""
    pictures = [Image.open(path).convert("RGB") for path in paths]
    parts = ([pictures[0], QUESTIONS[0]], [*pictures[1:], QUESTIONS[1]])
    prompts = [build_chat_prompt(one, made.tokenizer, made.prompts) for one in parts]  # type: ignore[arg-type]
    batch = build_prompt_batch(made.model, made.tokenizer, prompts)
    with torch.inference_mode():
        logits = made.model(batch)
    closing = ChatTemplate.from_prompts(made.tokenizer, made.prompts).find_closing("assistant")
    options = GenerateOptions(max_new_tokens=NEW_TOKENS)
    return batch.tokens, logits, generate_batch(made.model, made.tokenizer, prompts, options, closing)


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files but the card, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}


@contextmanager
def modules_in(folder: Path) -> Iterator[None]:
    """Lets transformers copy the code of exports into this folder, and imports it from there alone."""
    import sys

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder))
        patch.setattr(sys, "path", list(sys.path))
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        del sys.modules[name]
