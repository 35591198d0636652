"""Cuts a conversation that is too long for a sequence, at the borders of its turns.

It is cut before a turn that follows the assistant's, so that each answer stays with what was asked. Each later piece is
a conversation of its own: it repeats the system turn and, at the start of its first turn, the images shown before,
because what is asked next may be about them. An exchange that does not fit even so is dropped, and so is a piece that
has no answer to train on; their turns are counted.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile

from schemas.records.document import Role, get_speaker
from training.data.chat import TurnCounter
from training.data.markup import Markup
from training.data.pieces import PartSize, Piece, SizedPiece


@dataclass(frozen=True, slots=True)
class CutConversation:
    """Holds the pieces of a conversation, and the number of turns that are in none."""

    pieces: list[SizedPiece]
    dropped_turns: int


def select_turn_parts(roles: Sequence[Role], images: Sequence[bool], piece: Piece) -> list[tuple[Role, int]]:
    """Returns the numbers of the parts that a piece has, its context included, and the role that each has there.

    `images` says of each part of the conversation whether it is an image.
    """
    start, _, stop, _ = piece
    system = min(_count_system_parts(roles), start)
    context: list[tuple[Role, int]] = [("system", number) for number in range(system)]
    context += [(roles[start], number) for number in range(system, start) if images[number]]
    return [*context, *((roles[number], number) for number in range(start, len(roles) if stop < 0 else stop))]


def cut_conversation(
    parts: Sequence[PartSize], roles: Sequence[Role], markup: Markup, max_tokens: int, max_tiles: int
) -> CutConversation:
    """Cuts a conversation into pieces, each of at most `max_tokens` positions and `max_tiles` tiles.

    A piece takes as many exchanges as fit, so each turn of the assistant is in one piece, or dropped. The time is
    linear in the number of parts.
    """
    cutter = _Cutter(parts, roles, markup, max_tokens, max_tiles)
    for start, stop in _find_exchanges(roles):
        cutter.add(start, stop)
    cutter.close()
    return CutConversation(cutter.pieces, cutter.dropped_turns)


@dataclass(slots=True)
class _Filling:
    """Holds a piece that is being filled."""

    counter: TurnCounter
    tiles: int
    start: int
    stop: int
    turns: int = 0
    is_trained: bool = False  # some of it is; a conversation may have turns of the assistant that are context alone


class _Cutter:
    """Holds the finished pieces, the one that is being filled, and the size of what a new one would repeat."""

    def __init__(
        self, parts: Sequence[PartSize], roles: Sequence[Role], markup: Markup, max_tokens: int, max_tiles: int
    ) -> None:
        self._parts, self._roles, self._limits = parts, roles, (max_tokens, max_tiles)
        after_image = len(markup.chat.after_image)
        self._tokens = [
            markup.count_image_tokens(part.tiles) + after_image if part.tiles else part.tokens for part in parts
        ]
        self._system, self._system_tiles = TurnCounter(markup.chat), 0
        for number in range(_count_system_parts(roles)):
            self._system.add("system", self._tokens[number])
            self._system_tiles += parts[number].tiles
        self._shown_tokens = self._shown_tiles = 0  # of the images shown so far, but for those of the system turn
        self._filling: _Filling | None = None
        self.pieces: list[SizedPiece] = []
        self.dropped_turns = 0

    def add(self, start: int, stop: int) -> None:
        """Adds an exchange to the piece, to a new one if it does not fit, or to none."""
        grown = None if self._filling is None else self._extend(self._filling, start, stop)
        if grown is None:
            self.close()
            grown = self._extend(self._begin(start), start, stop)
        if grown is None:
            self.dropped_turns += _count_turns(self._roles[start:stop])
        self._filling = grown
        for number in range(start, stop):
            if self._parts[number].tiles:
                self._shown_tokens += self._tokens[number]
                self._shown_tiles += self._parts[number].tiles

    def close(self) -> None:
        """Finishes the piece that is being filled, if any."""
        done, self._filling = self._filling, None
        if done is not None and done.is_trained:
            piece = Piece(done.start, 0, done.stop, 0)
            self.pieces.append(SizedPiece(piece, done.counter.length, done.tiles))
        elif done is not None:
            self.dropped_turns += done.turns

    def _begin(self, start: int) -> _Filling:
        """Begins a piece with its context."""
        counter = copy(self._system)
        if self._shown_tiles:
            counter.add(self._roles[start], self._shown_tokens)
        return _Filling(counter, self._system_tiles + self._shown_tiles, start, start)

    def _extend(self, filling: _Filling, start: int, stop: int) -> _Filling | None:
        """Returns the piece with an exchange more, or None if that does not fit."""
        counter, tiles, roles = copy(filling.counter), filling.tiles, self._roles[start:stop]
        for number, role in enumerate(roles, start):
            counter.add(role, self._tokens[number])
            tiles += self._parts[number].tiles
        max_tokens, max_tiles = self._limits
        if counter.length > max_tokens or tiles > max_tiles:
            return None
        turns, is_trained = filling.turns + _count_turns(roles), filling.is_trained or "assistant" in roles
        return _Filling(counter, tiles, filling.start, stop, turns, is_trained)


def _find_exchanges(roles: Sequence[Role]) -> Iterator[tuple[int, int]]:
    """Yields the first part of each exchange and the one behind its last: what is asked, and the answer to it."""
    speakers = [get_speaker(role) for role in roles]
    begin = _count_system_parts(roles)
    starts = [begin] if begin < len(roles) else []
    starts += [
        number
        for number in range(begin + 1, len(roles))
        if speakers[number] != "assistant" and speakers[number - 1] == "assistant"
    ]
    yield from pairwise([*starts, len(roles)])


def _count_system_parts(roles: Sequence[Role]) -> int:
    return sum(1 for _ in takewhile(lambda role: role == "system", roles))


def _count_turns(roles: Sequence[Role]) -> int:
    return sum(1 for _ in groupby(roles))
