"""Generates an exported model's answer to a text with images: `shardloom generate`."""

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
    """Returns the answer of the model in `folder` to a text with images, which are files or URLs.

    Each `<image>` in the text marks the next image's place; without any, the images precede the text. `chat` formats
    the prompt as a user's turn. `device`: auto is cuda if available. Raises `UsageError` for an image that can't be
    read, and when the numbers of images and places differ.
    """
    place = device_of(device)
    model, tokenizer = load_pretrained(folder)
    prompts = read_prompts(folder)
    pictures = [picture(path, model.options, model.vision.image_size) for path in images]
    parts: list[str | int | Picture] = interleaved(text, pictures)
    prompt = asked(parts, tokenizer, prompts) if chat else begun(parts, tokenizer, prompts)
    return generate(on_device(model, place), tokenizer, prompt, options)


def device_of(asked: Device) -> str:
    """Returns cpu or cuda, and resolves `auto`. Raises `UsageError` when cuda is asked for and there is none."""
    cuda = torch.cuda.is_available()
    if asked == "cuda" and not cuda:
        raise UsageError("generate: no CUDA device here; pass --device cpu or --device auto")
    return asked if asked != "auto" else "cuda" if cuda else "cpu"


def on_device(model: ResamplerLMM, device: str) -> ResamplerLMM:
    """Moves the model to the device. On a GPU weights become bf16 as in training, but the rotary angles do not."""
    if device == "cuda":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(device, torch.bfloat16)
    return model.to(device)


def interleaved(text: str, pictures: Sequence[Picture]) -> list[str | int | Picture]:
    """Splits the text at each `<image>` and inserts the pictures there.

    Raises `UsageError` when the numbers of pictures and places differ.
    """
    pieces = text.split(MARKER)
    if len(pieces) == 1:
        return [*pictures, *filter(None, pieces)]
    if len(pieces) - 1 != len(pictures):
        raise UsageError(f"the prompt has {len(pieces) - 1} times {MARKER}, but there are {len(pictures)} images")
    return [part for pair in zip_longest(pieces, pictures) for part in pair if part]


def asked(parts: Sequence[str | int | Picture], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """Formats the parts as a user's turn before the assistant's answer, with the same tokens as `SampleReader`."""
    chat = ChatTemplate.of(tokenizer, prompts.system)
    turn: list[str | int | Picture] = []
    for part in parts:
        turn += [part.strip()] if isinstance(part, str) else [part, *chat.after_image]
    return [*chat.system, *chat.openings["user"], *turn, *chat.closing, *chat.openings["assistant"]]


def begun(parts: Sequence[str | int | Picture], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """Formats the parts as the start of a document: `<|endofchunk|>` before each image but the first, if used."""
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
    """Reads an image file or URL, decoded no larger than the model can use. Raises `UsageError` when it can't."""
    grids = options.any_resolution.grids if options.any_resolution.enabled else ((1, 1),)
    folder, name = split(path)
    try:
        data = folder.read(name)
    except ShardloomError as error:
        raise UsageError(f"--image {path}: {error}; pass an image's file or URL") from None
    try:
        return decode(data, tile * max(max(grid) for grid in grids))
    except Rejected as error:
        raise UsageError(f"--image {path}: not a usable image: {error}; pass another") from None
