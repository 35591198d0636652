"""Generates a trained model's answer to a text with images: `shardloom generate`."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Literal

import torch

from schemas.errors import ShardloomError, UsageError
from schemas.records.quarantine import Rejected
from schemas.storage.folder import split_path
from training.checkpoint_model import load_model
from training.data.chat import ChatTemplate, find_document_bos
from training.model.config import ModelOptions, PromptOptions
from training.model.generate import GenerateOptions, Prompt, generate
from training.model.lmm import ResamplerLMM
from training.model.tiles import DecodedImage, decode_image
from training.model.tokens import TextTokenizer

IMAGE_MARKER = "<image>"


Device = Literal["auto", "cpu", "cuda"]
Part = str | int | DecodedImage
"""A text, the id of a special token, or an image."""


def answer_prompt(
    folder: str,
    text: str,
    images: Sequence[str],
    options: GenerateOptions | None = None,
    chat: bool = False,
    device: Device = "auto",
) -> str:
    """Returns the answer of a model to a text with images, which are files or URLs.

    `folder` holds an export or a checkpoint.
    Each `<image>` in the text marks the next image's place; without any, the images precede the text. `chat` formats
    the prompt as a user's turn. `device`: auto is cuda if available. Raises `UsageError` for an image that can't be
    read, and when the numbers of images and places differ.
    """
    place = resolve_device(device)
    loaded = load_model(Path(folder))
    model, tokenizer, prompts = loaded.model, loaded.tokenizer, loaded.prompts
    pictures = [load_image(path, model.options, model.vision.image_size) for path in images]
    parts: list[Part] = interleave_images(text, pictures)
    if not chat:
        return generate(
            move_to_device(model, place), tokenizer, build_document_prompt(parts, tokenizer, prompts), options
        )
    prompt = build_chat_prompt(parts, tokenizer, prompts)
    closing = ChatTemplate.from_prompts(tokenizer, prompts).find_closing("assistant")
    return generate(move_to_device(model, place), tokenizer, prompt, options, closing)


def resolve_device(requested: Device) -> str:
    """Returns cpu or cuda, and resolves `auto`. Raises `UsageError` when cuda is asked for and there is none."""
    cuda = torch.cuda.is_available()
    if requested == "cuda" and not cuda:
        raise UsageError("generate: no CUDA device here; pass --device cpu or --device auto")
    return requested if requested != "auto" else "cuda" if cuda else "cpu"


def move_to_device(model: ResamplerLMM, device: str) -> ResamplerLMM:
    """Moves the model to the device. On a GPU weights become bf16 as in training, but the rotary angles do not."""
    if device == "cuda":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(device, torch.bfloat16)
    return model.to(device)


def interleave_images(text: str, pictures: Sequence[DecodedImage]) -> list[Part]:
    """Splits the text at each `<image>` and inserts the pictures there.

    Raises `UsageError` when the numbers of pictures and places differ.
    """
    pieces = text.split(IMAGE_MARKER)
    if len(pieces) == 1:
        return [*pictures, *filter(None, pieces)]
    if len(pieces) - 1 != len(pictures):
        raise UsageError(f"the prompt has {len(pieces) - 1} times {IMAGE_MARKER}, but there are {len(pictures)} images")
    return [part for pair in zip_longest(pieces, pictures) for part in pair if part]


def build_chat_prompt(
    parts: Sequence[Part],
    tokenizer: TextTokenizer,
    prompts: PromptOptions,
    earlier: Sequence[tuple[Sequence[Part], str]] = (),
) -> Prompt:
    """Formats the parts as a user's turn before the assistant's answer, with the same tokens as `SampleTokenizer`.

    `earlier` are turns of the user with the assistant's answers, which precede. The words of later turns are given as
    ids, because only those of the first turn are its conversation's instruction. Raises `UsageError` when the model's
    training could not format conversations.
    """
    if prompts.template_fault is not None:
        raise UsageError("--chat: this model was trained on no conversations: its chat template could not be split")
    chat = ChatTemplate.from_prompts(tokenizer, prompts)
    prompt: list[Part] = []
    for number, turn in enumerate([*(turn for turn, _ in earlier), parts]):
        prompt += chat.find_opening("assistant" if number else None, "user")
        for part in turn:
            words = part.strip() if isinstance(part, str) else part
            if isinstance(words, str):
                prompt += tokenizer.encode(words) if number else [words]
            else:
                prompt += [words, *chat.after_image]
        prompt += [*chat.find_closing("user"), *chat.find_opening("user", "assistant")]
        if number < len(earlier):
            prompt += [*tokenizer.encode(earlier[number][1].strip()), *chat.find_closing("assistant")]
    return prompt


def build_document_prompt(parts: Sequence[Part], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """Formats the parts as the start of a document, with a BOS and with `<|endofchunk|>` before each image but the
    first, if training had them, and a line break between two texts.
    """
    prompt: list[Part] = [*find_document_bos(tokenizer, prompts)]
    seen = False
    for before, part in pairwise([None, *parts]):
        assert part is not None
        if not isinstance(part, str):
            prompt += [tokenizer.special.end_of_chunk] if seen and prompts.end_of_chunk else []
            seen = True
        elif isinstance(before, str):
            prompt += tokenizer.encode("\n")
        prompt.append(part)
    return prompt


def load_image(path: str, options: ModelOptions, tile: int) -> DecodedImage:
    """Reads an image file or URL, decoded no larger than the model can use. Raises `UsageError` when it can't."""
    folder, name = split_path(path)
    try:
        data = folder.read(name)
    except ShardloomError as error:
        raise UsageError(f"--image {path}: {error}; pass an image's file or URL") from None
    try:
        return decode_for_model(data, options, tile)
    except Rejected as error:
        raise UsageError(f"--image {path}: not a usable image: {error}; pass another") from None


def decode_for_model(data: bytes, options: ModelOptions, tile: int, as_thumbnail: bool = False) -> DecodedImage:
    """Decodes an image file no larger than the model can use, whose tiles have `tile` pixels. Raises `Rejected`.

    With `as_thumbnail` a model of any resolution sees the thumbnail alone.
    """
    if as_thumbnail or not options.any_resolution.enabled:
        return replace(decode_image(data, tile), is_thumbnail=as_thumbnail)
    return decode_image(data, tile * max(max(grid) for grid in options.any_resolution.grids))
