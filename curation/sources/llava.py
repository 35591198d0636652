"""Conversations about images as LLaVA has them: JSON or JSONL (reference: formats.md §8). ShareGPT4V, Mantis, MMDU too.

`{"id", "image": "coco/train2017/0.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is it?"}, ...]}`.
`image` is a path below an image root, or a list of them; without it the conversation is text. Mantis has `images`
(objects with a `path`), `conversation`, and `role` and `content` in each turn; MMDU calls the human `user`.

Images stand where `<image>` does. Some rows have one image and no marker: then it comes first. Any other difference
between the two numbers means that nobody knows which image goes where, and leaves the row out.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO

from curation.sources.formats.fields import as_json, json_object, malformed, optional_list, optional_text, others
from curation.sources.formats.json_list import entries
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import Draft, DraftImage, Part, Role

_MARKER = re.compile(r"\s*<image>\s*")  # with the line breaks that set it apart, which say nothing
_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_KNOWN = ("id", "image", "images", "conversations", "conversation")


def items(file: BinaryIO) -> Iterator[Any]:
    """The objects of a .json file. UsageError, to which the caller adds which file it is: it is no list."""
    return entries(file)


def read(item: Any) -> Draft:
    """The conversation of one object, or of one line of JSONL."""
    if isinstance(item, str | bytes):
        item = json_object(item, "the line")
    if not isinstance(item, Mapping):
        raise malformed(f"a {type(item).__name__}, not an object")
    images = _images(item)
    turns = [_turn(turn, number) for number, turn in enumerate(_turns(item))]
    _check_turns(turns)
    markers = sum(len(_MARKER.findall(text)) for role, text in turns if role != "assistant")
    if markers == 0 and len(images) == 1:
        first = next(number for number, (role, _) in enumerate(turns) if role == "user")
        turns[first] = ("user", f"<image>{turns[first][1]}")
    elif markers != len(images):
        raise malformed(f"{len(images)} images and {markers} <image> markers")
    parts: list[Part] = []
    roles: list[Role] = []
    shown = 0
    for role, text in turns:
        for number, piece in enumerate([text] if role == "assistant" else _MARKER.split(text)):
            if number:
                parts.append(shown)
                shown += 1
            if piece.strip():
                parts.append(piece.strip())
            roles += [role] * (len(parts) - len(roles))
    name = item.get("id")
    uid = str(name) if isinstance(name, int) else optional_text(name, "id")
    return Draft(uid or None, None, tuple(parts), images, as_json(others(item, _KNOWN)), tuple(roles))


def _images(item: Mapping[str, Any]) -> tuple[DraftImage, ...]:
    value = item.get("image", item.get("images"))
    paths = []
    for number, image in enumerate([value] if isinstance(value, str) else optional_list(value, "image")):
        path = image.get("path") if isinstance(image, Mapping) else image
        if not isinstance(path, str) or not path:
            raise malformed(f"image {number} is no path")
        paths.append(optional_text(path, f"image {number}") or "")
    return tuple(DraftImage(path, metadata=as_json({"path": path})) for path in paths)


def _turns(item: Mapping[str, Any]) -> list[Any]:
    return optional_list(item.get("conversations", item.get("conversation")), "conversations")


def _turn(turn: Any, number: int) -> tuple[Role, str]:
    if not isinstance(turn, Mapping):
        raise malformed(f"turn {number} is no object")
    name = turn.get("from", turn.get("role"))
    if not isinstance(name, str) or name not in _ROLES:
        raise malformed(f"turn {number} is from {str(name)[:50]!r}: neither human nor gpt nor system")
    text = optional_text(turn.get("value", turn.get("content")), f"turn {number}")
    if text is None:
        raise malformed(f"turn {number} says nothing")
    return _ROLES[name], text


def _check_turns(turns: list[tuple[Role, str]]) -> None:
    if not any(role == "assistant" and text.strip() for role, text in turns):
        raise malformed("nobody answers")
    if all(role != "user" for role, _ in turns):
        raise malformed("nobody asks")
    said = [role for role, _ in turns if role != "system"]
    for number, (one, other) in enumerate(pairwise(said)):
        if one == other:
            raise malformed(f"turns {number} and {number + 1} are both the {one}'s")


SOURCE = SourceReader("llava", without_options(read), (".json", ".jsonl"), items=items)
