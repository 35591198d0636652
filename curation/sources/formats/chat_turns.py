"""Parses the turns of a conversation's row: the speaker, the text, and the places of images in it.

A turn is `{"from", "value"}` (LLaVA) or `{"role", "content"}` (Mantis, OpenAI), in the field `conversations`,
`conversation` or `messages`. Its content is a text, or OpenAI's list of parts. The Cauldron has exchanges,
`{"user", "assistant"}`, in the field `texts`. A row's own `system` or `system_prompt` becomes the first turn.
A turn may have images of its own, in the fields of a row (`row_images`): they take its places, or come first.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from curation.sources.formats.fields import malformed_row_error, read_optional_list, read_training_text
from curation.sources.formats.row_images import is_present, read_row_image, read_row_images
from schemas.records.document import ParsedImage, Role, get_speaker
from schemas.records.quarantine import Reason, Rejected

SYSTEM_FIELDS = ("system", "system_prompt")
TURN_FIELDS = ("conversations", "conversation", "messages")
EXCHANGES = "texts"

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",  # OpenAI's name for it since 2025
}

# The markers of LLaVA, XComposer, Qwen, Llama, Phi, DeepSeek, Gemma and InternVL, with what may enclose them. A number
# is that of the image in the row. `<img>` alone is HTML. Linear time: no alternative can start a second match inside
# text that an earlier attempt has scanned.
_MARKER = re.compile(
    r"(?:(?:<im_start>|<img>|<\|vision_start\|>)\s*+)?"
    r"<\|?(?:start_of_image|(?:image|img(?=[_ ]?[a-z\d]))"
    r"(?:[_ ]?(?:pad|here|placeholder|token|soft_token|context|(?P<number>\d{1,4})))?)\s?/?\|?>"
    r"(?:\s*+(?:\./)?(?:<im_end>|</img>|<\|vision_end\|>|</image>))?"
    r"|<img>(?P<path>[^<]*+)</img>",
    re.IGNORECASE,
)
_MEDIA = re.compile(
    r"(?:(?:video|audio|sound|movie)s?|speech)(?:_?(?:path|file|file_?name|name|url|uri|id)s?)?", re.IGNORECASE
)
# also the markers of Qwen (<|video_pad|>, <|AUDIO|>) and XComposer (<VideoHere>), numbered ones (<video_0>) and HTML's
_MEDIA_MARKER = re.compile(
    r"<\|?(?:video|audio|speech|sound)s?(?:[_ ]?(?:pad|here|placeholder|token|bos|url|\d{1,4}))?\s?/?\|?>"
    r"|<(?:video|audio)\s[^<>]{0,1000}\bsrc\b",
    re.IGNORECASE,
)
_MEDIA_PARTS = ("video", "video_url", "audio", "audio_url", "input_audio")
_IMAGE_PARTS = ("image", "image_url", "input_image")
_FALSE = ("false", "no", "off", "0", "0.0")
_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """Marks the place of an image: the one that it holds (`image`) or names (`path`, `number`), else the row's next."""

    path: str | None = None
    image: ParsedImage | None = None
    number: int | None = None  # of the image in the row, from 0 or from 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Holds what one speaker says, as pieces of text and places of images."""

    role: Role
    pieces: tuple[str | ImageSlot, ...]

    @property
    def has_content(self) -> bool:
        """Whether the turn contains more than white space; an answer must contain more than white space and markers."""
        texts = [piece for piece in self.pieces if isinstance(piece, str)]
        if get_speaker(self.role) == "assistant":
            return any(_MARKER.sub("", text).strip() for text in texts)
        return len(texts) < len(self.pieces) or any(text.strip() for text in texts)


def check_media(row: Mapping[str, Any], what: str) -> None:
    """Raises `Rejected` for a row or a turn about a video or a sound: without it, its text teaches a model to invent.

    The detail calls the row `what`.
    """
    found = next((name for name, value in row.items() if _MEDIA.fullmatch(name) and is_present(value)), None)
    if found is not None:
        raise Rejected(Reason.UNSUPPORTED_MEDIA, f"{what} has {found}")


def find_turn_field(row: Mapping[str, Any]) -> str:
    """Returns the field that holds the row's turns."""
    return next((name for name in (*TURN_FIELDS, EXCHANGES) if is_present(row.get(name))), TURN_FIELDS[0])


def read_turns(row: Mapping[str, Any]) -> list[Turn]:
    """Returns the turns in order. Raises `Rejected` for a malformed turn and for contradicting system prompts."""
    field = find_turn_field(row)
    said = read_optional_list(row.get(field), field)
    if field == EXCHANGES:
        said = [turn for number, exchange in enumerate(said) for turn in _split_exchange(exchange, number)]
    turns = [_read_turn(turn, number) for number, turn in enumerate(said)]
    system = _read_system_turn(row)
    if system is not None and [_strip_turn(turn) for turn in turns[:1]] != [_strip_turn(system)]:
        if turns and turns[0].role == "system":
            raise malformed_row_error("the row's system prompt is not that of its first turn")
        turns.insert(0, system)
    return turns


def _strip_turn(turn: Turn) -> Turn:
    """Returns a question or a system prompt without the white space at the ends of its texts, which is not kept."""
    pieces = (piece.strip() if isinstance(piece, str) else piece for piece in turn.pieces)
    return Turn(turn.role, tuple(piece for piece in pieces if piece != ""))


def _read_system_turn(row: Mapping[str, Any]) -> Turn | None:
    found = (read_training_text(row[name], name) for name in SYSTEM_FIELDS if is_present(row.get(name)))
    texts = {text.strip() for text in found if text and not text.isspace()}
    if len(texts) > 1:
        raise malformed_row_error("system and system_prompt differ")
    text = next(iter(texts), "")
    return Turn("system", tuple(_split_at_markers(text, "system"))) if text else None


def _split_exchange(value: Any, number: int) -> Iterator[dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise malformed_row_error(f"exchange {number} is not an object")
    others = {name: held for name, held in value.items() if name not in ("user", "assistant", "role", "from", "value")}
    yield others | {"role": "user", "content": value.get("user")}
    yield {"role": "assistant", "content": value.get("assistant")}


def _read_turn(value: Any, number: int) -> Turn:
    if not isinstance(value, Mapping):
        raise malformed_row_error(f"turn {number} is not an object")
    check_media(value, f"turn {number}")
    name = _get_first(value, "from", "role")
    role = _ROLES.get(name.strip().casefold()) if isinstance(name, str) else None
    if role is None:
        raise malformed_row_error(f"turn {number} is from {str(name)[:50]!r}: neither human nor gpt nor system")
    content = _get_first(value, "value", "content")
    if content is None:
        raise malformed_row_error(f"turn {number} says nothing")
    if isinstance(content, list):
        pieces = [piece for part in content for piece in _read_part(part, role, f"turn {number}")]
    else:
        pieces = list(_split_at_markers(read_training_text(content, f"turn {number}") or "", role))
    if images := read_row_images(value):
        pieces = _place_images(pieces, images)
    return Turn(
        "context" if role == "assistant" and _is_excluded_from_loss(value) else role, tuple(_join_texts(pieces))
    )


def _place_images(pieces: list[str | ImageSlot], images: list[ParsedImage]) -> list[str | ImageSlot]:
    """Puts the images of a turn into its places, or before its text if it has none. Raises `Rejected`."""
    places = [piece for piece in pieces if isinstance(piece, ImageSlot)]
    if not places:
        return [*(ImageSlot(image=image) for image in images), *pieces]
    ordered = iter(order_images(places, images))
    return [ImageSlot(image=next(ordered)) if isinstance(piece, ImageSlot) else piece for piece in pieces]


def order_images(places: list[ImageSlot], images: list[ParsedImage]) -> tuple[ParsedImage, ...]:
    """Returns the images in reading order: a place holds its own image, or takes the next one of the row or turn.

    Raises `Rejected` unless the images are as many as such places, or are those that the places hold already.
    """
    due = [place for place in places if place.image is None]
    if len(due) != len(images) and (due or images != [place.image for place in places]):
        raise malformed_row_error(f"{len(images)} images and {len(due)} <image> markers")
    if not due:
        return tuple(place.image for place in places if place.image is not None)
    if any(place.number is not None for place in due):
        images = _select_by_number([place.number for place in due], images)
    names = [json.loads(image.metadata).get("path", "") for image in images]
    paths = [place.path for place in due if place.path is not None]
    if sorted(paths) == sorted(names):
        images = [images[names.index(path)] for path in paths]
    else:
        for place, name in zip(due, names, strict=True):
            if place.path not in (None, name):
                raise malformed_row_error(f"a place for {(place.path or '')[:100]!r} where {name[:100]!r} is due")
    following = iter(images)
    return tuple(next(following) if place.image is None else place.image for place in places)


def _select_by_number(numbers: list[int | None], images: list[ParsedImage]) -> list[ParsedImage]:
    """Returns the images that numbered places name, which count from 0 or from 1, each once. Raises `Rejected`."""
    first = 0 if 0 in numbers else 1
    by_number = dict(enumerate(images, first))
    if set(numbers) != set(by_number):
        shown = ", ".join("none" if number is None else str(number) for number in numbers[:10])
        raise malformed_row_error(f"{len(images)} images and markers with the numbers {shown}")
    return [by_number[number] for number in numbers if number is not None]


def _is_excluded_from_loss(value: Mapping[str, Any]) -> bool:
    """Returns whether the turn is excluded from the loss: `loss` (ms-swift), `train` (axolotl), `weight` (OpenAI).

    Each may be a boolean, a number, or the text of one, as tables store them.
    """
    marks = [value.get(name) for name in ("loss", "train", "weight")]
    return any(mark == 0 or (isinstance(mark, str) and mark.strip().casefold() in _FALSE) for mark in marks)


def _read_part(part: Any, role: Role, place: str) -> Iterator[str | ImageSlot]:
    """Yields the pieces of one part of OpenAI's lists. In Parquet a part has the fields of all kinds, most are null."""
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in _TEXT_PARTS:
        check_media(part, place)
        yield from (ImageSlot(image=image) for image in read_row_images(part))
        yield from _split_at_markers(read_training_text(part.get("text"), place) or "", role)
    elif kind in _IMAGE_PARTS:
        image = next((part[name] for name in ("image_url", "image", "url", "path") if is_present(part.get(name))), None)
        yield ImageSlot(image=None if image is None else read_row_image(image, f"{place}'s image"))
    elif kind in _MEDIA_PARTS:
        raise Rejected(Reason.UNSUPPORTED_MEDIA, f"{place} has a part of the type {kind}")
    else:
        raise malformed_row_error(f"{place} has a part of the type {str(kind)[:50]!r}: neither text nor image")


def _split_at_markers(text: str, role: Role) -> Iterator[str | ImageSlot]:
    """Splits a text at its image markers. Leaves an answer whole: a marker in it is part of what was said."""
    if role == "assistant":
        yield text
        return
    if found := _MEDIA_MARKER.search(text):
        raise Rejected(Reason.UNSUPPORTED_MEDIA, f"the text has the marker {found[0]}")
    begin = 0
    for marker in _MARKER.finditer(text):
        yield text[begin : marker.start()]
        number = marker["number"]
        yield ImageSlot(
            path=None if marker["path"] is None else marker["path"].strip(),
            number=None if number is None else int(number),
        )
        begin = marker.end()
    yield text[begin:]


def _join_texts(pieces: list[str | ImageSlot]) -> Iterator[str | ImageSlot]:
    """Joins neighbouring texts by a line break, so that their words do not run together."""
    held: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            held += [piece] * bool(piece)
            continue
        yield "\n".join(held)
        held = []
        yield piece
    yield "\n".join(held)


def _get_first(value: Mapping[str, Any], *names: str) -> Any:
    found = [value[name] for name in names if value.get(name) is not None]
    return next(filter(is_present, found), found[0] if found else None)
