"""Splits a chat template into the texts around its turns, by rendering it with marks in place of words.

The text between two turns must depend on their roles alone, whatever their number and whichever is the last: then a
conversation can be counted, cut and masked turn by turn, and still reads as the template renders it.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path

from schemas.errors import to_one_line
from schemas.records.document import Role
from training.data.templates import renderer
from training.model.chat_format import ChatFormat, TurnTexts
from training.model.tokens import TextTokenizer

TIMEOUT_SECONDS = 120.0  # the renderer's own limits end it earlier, unless the machine stands still
MAX_SUGGESTION = 1000  # characters: an error is one line

_TALKS: tuple[tuple[Role, ...], ...] = (("user",), ("user", "assistant"), ("user", "assistant") * 3)
_EXAMPLE = {name: {"opening": f"<|{name}|>\n", "closing": "<|end|>\n"} for name in ("system", "user", "assistant")}


class UnsplittableTemplate(ValueError):
    """Reports in one line why a chat template can't be used, and what to write in its place."""

    def __init__(self, reason: str, suggestion: ChatFormat | None = None) -> None:
        found = None if suggestion is None else json.dumps(suggestion.model_dump(exclude_defaults=True))
        written = found if found is not None and len(found) <= MAX_SUGGESTION else json.dumps(_EXAMPLE)
        super().__init__(
            f"tokenizer: its chat template can't be split into turns: {reason}; "
            f"write the texts around each turn as data.template, such as {written}"
        )


@dataclass
class _Joints:
    """Holds the text between each two neighbouring turns, by their roles; None for a conversation's start or end."""

    texts: dict[tuple[Role | None, Role | None], str] = field(default_factory=dict)
    fault: str | None = None  # the first reason why they are not those of all conversations

    def add(self, roles: Sequence[Role], text: str) -> None:
        """Splits a rendered conversation at its marks."""
        marks = [_mark(number) for number in range(len(roles))]
        places = [text.find(mark) for mark in marks]
        for number, role in enumerate(roles):
            if text.count(marks[number]) != 1 or places[number] < max(places[: number + 1]):
                where = f"in a conversation of {len(roles)} turn{'s' * (len(roles) > 1)}"
                self.fault = self.fault or f"it alters, moves, repeats or drops the words of a turn ({role}) {where}"
                return
        begins = [0, *(place + len(mark) for place, mark in zip(places, marks, strict=True))]
        for begin, end, joint in zip(begins, [*places, len(text)], pairwise([None, *roles, None]), strict=True):
            known = self.texts.setdefault(joint, text[begin:end])
            if known != text[begin:end]:
                where = f"between {joint[0] or 'the start'} and {joint[1] or 'the end'}"
                shown = " or ".join(repr(one[:80]) for one in (known, text[begin:end]))
                self.fault = self.fault or f"the text {where} is {shown}, which depends on more than the two roles"


def split_chat_template(template: str, tokenizer: TextTokenizer) -> ChatFormat:
    """Returns the texts around the turns of a Jinja template. Raises `UnsplittableTemplate`."""
    answers = _render_conversations(template, [*_TALKS, *(("system", *talk) for talk in _TALKS)], tokenizer)
    plain, with_system = answers[: len(_TALKS)], answers[len(_TALKS) :]
    joints = _Joints()
    for roles, answer in zip(_TALKS, plain, strict=True):
        if "text" in answer:
            joints.add(roles, answer["text"])
        elif len(roles) > 1:  # a conversation may have to end with the assistant
            raise UnsplittableTemplate(f"it can't render a conversation of user and assistant: {answer['fault']}")
    if any(_mark(0) in answer.get("text", "") for answer in with_system):  # else it has no system turns
        for roles, answer in zip(_TALKS, with_system, strict=True):
            joints.add(("system", *roles), answer.get("text", ""))
    return _build_format(joints, tokenizer)


def _build_format(joints: _Joints, tokenizer: TextTokenizer) -> ChatFormat:
    """Divides the joints into what closes a turn and what opens the next one. Raises `UnsplittableTemplate`."""
    texts, split, join = joints.texts, tokenizer.split_markup, "".join
    if not {("user", "assistant"), ("assistant", "user"), ("assistant", None)} <= texts.keys():
        raise UnsplittableTemplate(joints.fault or "it renders no turns")
    to_user, to_end = split(texts["assistant", "user"]), split(texts["assistant", None])
    to_assistant, user_end = split(texts["user", "assistant"]), split(texts.get(("user", None), ""))
    closing, user_closing = _find_common_start(to_user, to_end), _find_common_start(to_assistant, user_end)
    opening, fault = join(to_user[len(closing) :]), joints.fault
    is_ended = join(closing).strip() != ""  # a line break alone may be one of the words
    if not is_ended:
        fault = fault or "nothing ends the turns of the assistant, so that a model would never stop"
    first_user, first_system = texts[None, "user"], texts.get((None, "system"))
    start = _find_start(first_user, first_system, opening, tokenizer)
    system = after_system = None
    if first_system is not None and (behind := texts.get(("system", "user"))) is not None:
        if not behind.endswith(opening):
            after_system = ""  # the system's words are the beginning of the user's turn
        system_closing = behind if after_system is not None else behind.removesuffix(opening)
        system = TurnTexts(opening=first_system.removeprefix(start), closing=system_closing)
    found = ChatFormat(
        start=start,
        system=system,
        user=TurnTexts(opening=opening, closing=join(user_closing)),
        assistant=TurnTexts(
            opening=join(to_assistant[len(user_closing) :]),
            closing=join(closing) if is_ended else tokenizer.find_name(tokenizer.special.end) + join(closing),
        ),
        first_user=None if first_user == start + opening else first_user,
        user_after_system=after_system,
        end=join(to_end[len(closing) :]),
    )
    if fault is not None:
        raise UnsplittableTemplate(fault, found)
    return found


def _find_start(first_user: str, first_system: str | None, opening: str, tokenizer: TextTokenizer) -> str:
    """Returns what precedes the first turn, whether it is the user's or the system's: nothing, or the BOS, or more."""
    beginnings = [first_user] if first_system is None else [first_user, first_system]
    start = "".join(tokenizer.split_markup(first_user)[: -len(tokenizer.split_markup(opening)) or None])
    if start + opening == first_user and all(text.startswith(start) for text in beginnings):
        return start
    bos = "" if tokenizer.bos is None else tokenizer.find_name(tokenizer.bos)
    return bos if all(text.startswith(bos) for text in beginnings) else ""


def _render_conversations(
    template: str, conversations: Sequence[Sequence[Role]], tokenizer: TextTokenizer
) -> list[dict[str, str]]:
    """Renders conversations of marks: for each its `text`, or the `fault` of the template.

    Raises `UnsplittableTemplate` when that takes too long or too much memory.
    """
    special = {"eos_token": tokenizer.special.end, "pad_token": tokenizer.special.pad}
    tokens = {name: tokenizer.find_name(number) for name, number in special.items()} | dict(tokenizer.config.tokens)
    messages = [
        [{"role": role, "content": _mark(number)} for number, role in enumerate(roles)] for roles in conversations
    ]
    request = json.dumps({"template": template, "tokens": tokens, "conversations": messages})
    command = [sys.executable, "-P", str(Path(renderer.__file__))]  # -P: its folder's modules hide no others
    try:
        done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise UnsplittableTemplate(f"it does not end within {TIMEOUT_SECONDS:g} seconds") from None
    if done.returncode < 0:  # ended by a signal
        limits = f"{renderer.CPU_SECONDS} seconds or {renderer.MAX_BYTES >> 20} MiB"
        raise UnsplittableTemplate(f"rendering it takes more than {limits}")
    if done.returncode:
        raise UnsplittableTemplate(f"its renderer failed: {to_one_line(done.stderr[-150:])}")
    answers: list[dict[str, str]] = json.loads(done.stdout)
    return [{name: text if name == "text" else to_one_line(text, 150) for name, text in one.items()} for one in answers]


def _mark(number: int) -> str:
    """Returns words that a template alters if it alters any: of both cases, with markup, quotes and a line break."""
    return f"mark {number} of <b>&\"'\\ \n  Ünlike {number}s"


def _find_common_start(one: Sequence[str], other: Sequence[str]) -> list[str]:
    return [atom for atom, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]
