"""Reads conversations about images in LLaVA's layout from JSON, JSONL or Parquet (docs/formats.md §8).

`{"id", "image": "coco/train2017/0.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"}, ...]}`.
`image` is a path below an image root, or a list of paths; without it the conversation is text only. The reader also
accepts ShareGPT4V, Mantis, MMDU, the Cauldron and OpenAI's `messages`: `formats.chat_turns` describes the forms of a
turn, `formats.row_images` the forms of an image.

`<image>`, `<img>PATH</img>`, `<|image_1|>` and the other markers of `chat_turns` mark the place of an image. If a row
has one image and no marker, the image comes first, as all images of the Cauldron do. Any other difference between the
number of images and the number of markers leaves the row out, because the places of the images are unknown. An empty
turn also leaves the row out: without it, its two neighbours would become one turn.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from curation.sources.formats.chat_turns import (
    EXCHANGES,
    SYSTEM_FIELDS,
    TURN_FIELDS,
    ImageSlot,
    Turn,
    check_media,
    find_turn_field,
    order_images,
    read_turns,
)
from curation.sources.formats.fields import dump_metadata, malformed_row_error, parse_json_object, select_other_fields
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.formats.row_images import IMAGE_FIELDS, find_image_fields, is_present, read_row_images
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument, Part, Role, get_speaker
from schemas.records.uid import to_uid


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one object, of one line of JSONL, or of one row of Parquet. Raises `Rejected`."""
    if isinstance(item, str | bytes):
        item = parse_json_object(item, "the line")
    if not isinstance(item, Mapping):
        raise malformed_row_error(f"a {type(item).__name__}, not an object")
    check_media(item, "the row")
    images, turns = read_row_images(item), read_turns(item)
    _check_turns(turns)
    turns = _place_images_first(turns, len(images), find_turn_field(item))
    shown = order_images([piece for turn in turns for piece in turn.pieces if isinstance(piece, ImageSlot)], images)
    uid = to_uid(item.get("id"))
    no_uid = {"id": item["id"]} if uid is None and item.get("id") is not None else {}
    parts, roles = _build_parts(turns)
    return ParsedDocument(uid or None, None, parts, shown, dump_metadata(_collect_metadata(item) | no_uid), roles)


def _check_turns(turns: list[Turn]) -> None:
    """Raises `Rejected` for turns that do not alternate, and for one without content: an image that the row does not
    place is none.
    """
    if not any(turn.role == "assistant" and turn.has_content for turn in turns):
        raise malformed_row_error("nobody answers")
    if all(turn.role != "user" for turn in turns):
        raise malformed_row_error("nobody asks")
    said = [get_speaker(turn.role) for turn in turns if turn.role != "system"]
    for number, (one, other) in enumerate(pairwise(said)):
        if one == other:
            raise malformed_row_error(f"turns {number} and {number + 1} are both the {one}'s")
    for number, (turn, following) in enumerate(pairwise(turns)):
        if turn.role == following.role:
            raise malformed_row_error(f"turns {number} and {number + 1} are both the {turn.role}'s")
    for number, turn in enumerate(turns):
        if not turn.has_content:
            raise malformed_row_error(f"turn {number} says nothing")


def _place_images_first(turns: list[Turn], images: int, field: str) -> list[Turn]:
    """Returns the turns, with the images placed before the first question if the row has no marker."""
    if any(isinstance(piece, ImageSlot) for turn in turns for piece in turn.pieces) or (
        images != 1 and field != EXCHANGES
    ):
        return turns
    first = next(number for number, turn in enumerate(turns) if turn.role == "user")
    asking = Turn("user", (*[ImageSlot()] * images, *turns[first].pieces))
    return [*turns[:first], asking, *turns[first + 1 :]]


def _build_parts(turns: list[Turn]) -> tuple[tuple[Part, ...], tuple[Role, ...]]:
    """Returns the parts and their roles. Only answers keep their leading white space: it may indent code."""
    parts: list[Part] = []
    roles: list[Role] = []
    shown = 0
    for turn in turns:
        for piece in turn.pieces:
            if isinstance(piece, ImageSlot):
                parts.append(shown)
                shown += 1
            elif text := _strip_answer(piece) if get_speaker(turn.role) == "assistant" else piece.strip():
                parts.append(text)
            roles += [turn.role] * (len(parts) - len(roles))
    return tuple(parts), tuple(roles)


def _strip_answer(text: str) -> str:
    """Returns the answer without leading blank lines and trailing white space."""
    text = text.rstrip()
    begin = len(text) - len(text.lstrip())
    return text[max(text.rfind(mark, 0, begin) for mark in "\r\n") + 1 :]


def _collect_metadata(item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row's other fields, and the `source` of each of the Cauldron's exchanges."""
    used = find_turn_field(item)
    unused = [name for name in (*TURN_FIELDS, EXCHANGES) if name != used and is_present(item.get(name))]
    known = {"id", *IMAGE_FIELDS, *find_image_fields(item), *SYSTEM_FIELDS, *TURN_FIELDS, EXCHANGES} - set(unused)
    about = select_other_fields(item, known)
    if used == EXCHANGES:
        sources = [exchange.get("source") for exchange in item[used] if isinstance(exchange, Mapping)]
        if any(sources):
            about["sources"] = sources
    return about


SOURCE = SourceReader(
    "llava",
    ignore_options(read),
    (".json", ".jsonl", ".parquet"),
    optional=None,
    items=read_entries,
    offsets=find_entry_offsets,
)
