"""An exported model asked about images: `shardloom generate`."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

import torch

from schemas.errors import ShardloomError, UsageError
from schemas.records.quarantine import Rejected
from schemas.storage.folder import split
from training.data.chat import ChatTemplate
from training.model.config import ModelOptions, PromptOptions
from training.model.generate import GenerateOptions, Prompt, generate
from training.model.lmm import ResamplerLMM
from training.model.pretrained import load_pretrained, read_prompts
from training.model.tiles import Picture, decode
from training.model.tokens import TextTokenizer

MARKER = "<image>"


Device = Literal["auto", "cpu", "cuda"]


def answer(
    folder: str,
    text: str,
    images: Sequence[str],
    options: GenerateOptions | None = None,
    chat: bool = False,
    device: Device = "auto",
) -> str:
    """What the model in `folder` says to a text with images, which are files or URLs.

    Each `<image>` in the text is the next image's place; without any they stand before it. `chat` puts it as a user's
    turn. `device`: auto is cuda where there is one. Raises `UsageError` for images that can't be read, and for more or
    fewer than there are places.
    """
    place = device_of(device)
    model, tokenizer = load_pretrained(folder)
    prompts = read_prompts(folder)
    pictures = [picture(path, model.options, model.vision.image_size) for path in images]
    parts: list[str | int | Picture] = interleaved(text, pictures)
    prompt = asked(parts, tokenizer, prompts) if chat else begun(parts, tokenizer, prompts)
    return generate(on_device(model, place), tokenizer, prompt, options)


def device_of(asked: Device) -> str:
    """The device that `auto` stands for here. Raises `UsageError` where there is none of the kind."""
    cuda = torch.cuda.is_available()
    if asked == "cuda" and not cuda:
        raise UsageError("generate: no CUDA device here; pass --device cpu or --device auto")
    return asked if asked != "auto" else "cuda" if cuda else "cpu"


def on_device(model: ResamplerLMM, device: str) -> ResamplerLMM:
    """The model there; on a GPU its weights in bf16, as they were used in training, and the angles of positions not."""
    if device == "cuda":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(device, torch.bfloat16)
    return model.to(device)


def interleaved(text: str, pictures: Sequence[Picture]) -> list[str | int | Picture]:
    """The text with the pictures in their places."""
    pieces = text.split(MARKER)
    if len(pieces) == 1:
        return [*pictures, *filter(None, pieces)]
    if len(pieces) - 1 != len(pictures):
        raise UsageError(f"the prompt has {len(pieces) - 1} times {MARKER} and there are {len(pictures)} images")
    return [part for pair in zip_longest(pieces, pictures) for part in pair if part]


def asked(parts: Sequence[str | int | Picture], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """The parts as a user's turn, to which the assistant is to answer, to the token as `SampleReader` puts one."""
    chat = ChatTemplate.of(tokenizer, prompts.system)
    turn: list[str | int | Picture] = []
    for part in parts:
        turn += [part.strip()] if isinstance(part, str) else [part, *chat.after_image]
    return [*chat.system, *chat.openings["user"], *turn, *chat.closing, *chat.openings["assistant"]]


def begun(parts: Sequence[str | int | Picture], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """The parts as the beginning of a document: what was said of an image ends where the next one stands."""
    if not prompts.end_of_chunk:
        return parts
    prompt: list[str | int | Picture] = []
    seen = False
    for part in parts:
        if not isinstance(part, str):
            prompt += [tokenizer.special.end_of_chunk] if seen else []
            seen = True
        prompt.append(part)
    return prompt


def picture(path: str, options: ModelOptions, tile: int) -> Picture:
    """An image's file, decoded no larger than the model can see."""
    grids = options.any_resolution.grids if options.any_resolution.enabled else ((1, 1),)
    folder, name = split(path)
    try:
        data = folder.read(name)
    except ShardloomError as error:
        raise UsageError(f"--image {path}: {error}; pass an image's file or URL") from None
    try:
        return decode(data, tile * max(max(grid) for grid in grids))
    except Rejected as error:
        raise UsageError(f"--image {path}: no image: {error}; pass another") from None
