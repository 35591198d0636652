"""An exported model asked about images: `shardloom generate`."""

from collections.abc import Sequence
from itertools import zip_longest

from schemas.errors import UsageError
from schemas.quarantine import Rejected
from schemas.storage import split
from training.data.chat import ChatTemplate
from training.model.config import ModelOptions
from training.model.generate import GenerateOptions, Prompt, generate
from training.model.pretrained import load_pretrained
from training.model.tiles import Picture, decode
from training.model.tokens import TextTokenizer

MARKER = "<image>"


def answer(
    folder: str, text: str, images: Sequence[str], options: GenerateOptions | None = None, chat: bool = False
) -> str:
    """What the model in `folder` says to a text with images, which are files or URLs.

    Each `<image>` in the text is the next image's place; without any they stand before it. `chat` puts it as a user's
    turn. Raises `UsageError` for images that can't be read, and for more or fewer than there are places.
    """
    model, tokenizer = load_pretrained(folder)
    pictures = [picture(path, model.options, model.vision.image_size) for path in images]
    parts: list[str | int | Picture] = interleaved(text, pictures)
    prompt: Prompt = asked(parts, tokenizer) if chat else parts
    return generate(model, tokenizer, prompt, options)


def interleaved(text: str, pictures: Sequence[Picture]) -> list[str | int | Picture]:
    """The text with the pictures in their places."""
    pieces = text.split(MARKER)
    if len(pieces) == 1:
        return [*pictures, *filter(None, pieces)]
    if len(pieces) - 1 != len(pictures):
        raise UsageError(f"the prompt has {len(pieces) - 1} times {MARKER} and there are {len(pictures)} images")
    return [part for pair in zip_longest(pieces, pictures) for part in pair if part]


def asked(parts: Sequence[str | int | Picture], tokenizer: TextTokenizer) -> Prompt:
    """The parts as a user's turn, to which the assistant is to answer."""
    chat = ChatTemplate.of(tokenizer, None)
    return [*chat.openings["user"], *parts, *chat.closing, *chat.openings["assistant"]]


def picture(path: str, options: ModelOptions, tile: int) -> Picture:
    """An image's file, decoded no larger than the model can see."""
    grids = options.any_resolution.grids if options.any_resolution.enabled else ((1, 1),)
    folder, name = split(path)
    try:
        return decode(folder.read(name), tile * max(max(grid) for grid in grids))
    except Rejected as error:
        raise UsageError(f"{path}: no image: {error}") from None
