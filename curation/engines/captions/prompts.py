"""Fills the prompts of caption engines: a text with fields in braces, each of which prints what is known of the image.

`{{` and `}}` stand for braces. The fields are those of `FIELDS`, and the names of earlier captions, which print their
text. What a field prints is bounded, so that a page of small print does not fill the model's context.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curation.engines.kinds import EngineKind
from curation.format_strings import Format, parse_format
from schemas.errors import UsageError

MAX_BYTES = 1 << 16  # of a file; a prompt of thousands of words costs more than the image
MAX_CHARACTERS = 20_000  # of its text
MAX_ITEMS = 100  # lines, tags or boxes that a field prints
MAX_FIELD_CHARACTERS = 4_000  # of alt text and captions, which are cut there
FIELDS_VERSION = "1"  # of what the fields print: part of the fingerprint

DEFAULT_PROMPT = "Describe this image in detail."

Annotations = Mapping[str, Any]
"""The alt text of an image as `caption`, and what earlier stages found: by kind, and for captions the text by name."""


@dataclass(frozen=True, slots=True)
class PromptField:
    """Describes what a field prints."""

    print: Callable[[Annotations], str]
    kind: EngineKind | None  # of the engine whose output it prints; None for the alt text


def _print_box(item: Mapping[str, float]) -> str:
    """Returns the corners of a box as whole numbers from 0 to 999, the scale that most models know."""
    return "[" + ", ".join(str(round(999 * min(1.0, max(0.0, item[side])))) for side in ("x1", "y1", "x2", "y2")) + "]"


def _join(items: Iterable[str], separator: str) -> str:
    return separator.join(list(items)[:MAX_ITEMS])


FIELDS: Mapping[str, PromptField] = {
    "alt_text": PromptField(lambda held: held["caption"][:MAX_FIELD_CHARACTERS], None),
    "ocr": PromptField(lambda held: _join((line["text"] for line in held["ocr"]), "\n"), "ocr"),
    "ocr_boxes": PromptField(
        lambda held: _join((f"{line['text']} {_print_box(line)}" for line in held["ocr"]), "\n"), "ocr"
    ),
    "tags": PromptField(lambda held: _join(dict.fromkeys(tag["name"] for tag in held["tags"]), ", "), "tags"),
    "boxes": PromptField(
        lambda held: _join((f"{found['label']} {_print_box(found)}" for found in held["boxes"]), "\n"), "boxes"
    ),
}
"""The fields that every prompt may name. `docs/captions.md` shows what each prints."""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """Holds a prompt that is to be filled in."""

    pieces: Format
    sha256: str  # of the file's bytes

    def fill(self, held: Annotations) -> str:
        """Returns the prompt for one image. `held` has every field that the prompt names."""
        text = ""
        for literal, field in self.pieces:
            text += literal
            if field:
                text += FIELDS[field].print(held) if field in FIELDS else held[field][:MAX_FIELD_CHARACTERS]
        return text

    def list_inputs(self) -> list[str]:
        """Returns what the prompt reads: kinds of engines, and names of captions. The alt text is always there."""
        named = dict.fromkeys(piece.field for piece in self.pieces if piece.field)
        kinds = [FIELDS[name].kind if name in FIELDS else name for name in named]
        return [kind for kind in dict.fromkeys(kinds) if kind is not None]


def parse_prompt(content: bytes, where: str, stages: Iterable[str]) -> PromptTemplate:
    """Parses a prompt that may name the output of these earlier kinds and captions.

    `where` names it in messages. Raises `UsageError` with the fault.
    """
    held = set(stages)
    known = [name for name, field in FIELDS.items() if field.kind is None or field.kind in held]
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        text = content.decode().removesuffix("\n")
        pieces = parse_format(text, [*known, *(name for name in stages if name not in FIELDS)], MAX_CHARACTERS)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    if not text.strip():
        raise UsageError(f"{where}: it is empty")
    return PromptTemplate(pieces, hashlib.sha256(content).hexdigest())
