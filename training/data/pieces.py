"""Cuts a sample that is too long for a sequence into pieces, at part boundaries or between tokens.

The pages of a paper and the paragraphs of a web page are long: pieces that end only where a part ends would leave many
positions empty, because long pieces can't be packed together. So a text is cut between tokens when moving the whole
text to the next piece would waste more than 1/`SLACK_DIVISOR` of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from training.data.markup import Markup

WHOLE_SAMPLE = -1
SLACK_DIVISOR = 64  # a piece is full when less than 1/64 of a sequence is left


class Piece(NamedTuple):
    """Bounds a half-open range of a sample, from (`part`, `token`) up to (`stop_part`, `stop_token`).

    It never splits an image.
    """

    part: int = 0
    token: int = 0
    stop_part: int = WHOLE_SAMPLE  # WHOLE_SAMPLE or the number of parts if the piece includes the sample's end
    stop_token: int = 0


@dataclass(frozen=True, slots=True)
class SizedPiece:
    """Holds a piece, and the positions and tiles that it takes."""

    piece: Piece
    length: int
    tiles: int


@dataclass(frozen=True, slots=True)
class PartSize:
    """Holds the size of one part: tokens of a text, or tiles of an image."""

    tokens: int
    tiles: int  # 0 for a text


def split_into_pieces(parts: Sequence[PartSize], markup: Markup, max_tokens: int, max_tiles: int) -> list[SizedPiece]:
    """Cuts a document into pieces, each of at most `max_tokens` positions and `max_tiles` tiles.

    Returns an empty list if a single image exceeds a limit. A part that does not fit into a piece goes to the next one,
    unless it is a text and this would leave more than 1/`SLACK_DIVISOR` of a sequence empty: then the text is cut to
    fill the piece. Closing tokens that would form a piece of their own are dropped: the model would have nothing to
    predict them from.
    """
    closing = len(markup.build_closing(sum(part.tiles > 0 for part in parts)))
    cutter = _PieceBuilder(max_tokens)
    cutter.length = len(markup.bos)
    for number, part in enumerate(parts):
        closing_tokens = closing if number == len(parts) - 1 else 0
        if part.tiles:
            size = markup.count_image_tokens(part.tiles) + closing_tokens
            if size + (0 if number else len(markup.bos)) > max_tokens or part.tiles > max_tiles:
                return []
            separator_tokens = len(markup.end_of_chunk) if cutter.tiles else 0
            if cutter.length + separator_tokens + size > max_tokens or cutter.tiles + part.tiles > max_tiles:
                cutter.close((number, 0))
                separator_tokens = 0
            cutter.length += separator_tokens + size
            cutter.tiles += part.tiles
        else:
            is_joined = number > 0 and not parts[number - 1].tiles and cutter.start != (number, 0)
            cutter.add_text(number, part.tokens, closing_tokens, len(markup.joint) if is_joined else 0)
    cutter.close((len(parts), 0))
    return cutter.pieces


class _PieceBuilder:
    """Holds the finished pieces, and the one that is being filled."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.pieces: list[SizedPiece] = []
        self.start = (0, 0)
        self.length = self.tiles = 0

    def close(self, stop: tuple[int, int], start: tuple[int, int] | None = None) -> None:
        """Finishes the piece; the next one begins at `start`, by default where this one stops."""
        if self.length:
            self.pieces.append(SizedPiece(Piece(*self.start, *stop), self.length, self.tiles))
        self.start, self.length, self.tiles = start or stop, 0, 0

    def add_text(self, number: int, tokens: int, closing_tokens: int, separator_tokens: int) -> None:
        """Adds a text of `tokens` tokens; cuts it where a piece is full.

        Before it come `separator_tokens` unless it begins a piece, and after it `closing_tokens`.
        """
        need, taken = tokens + closing_tokens, 0
        left = self.max_tokens - self.length - separator_tokens
        if left < need and (left <= 0 or left < self.max_tokens // SLACK_DIVISOR):
            self.close((number, 0))
            separator_tokens = 0
        while (left := self.max_tokens - self.length - separator_tokens) < need - taken:
            step = min(left, tokens - taken)
            taken += step
            self.length += separator_tokens + step
            separator_tokens = 0
            self.close((number, taken), (number + 1, 0) if taken == tokens else None)
        if not taken or taken < tokens:
            self.length += separator_tokens + need - taken
