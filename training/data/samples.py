"""Turns a stored sample into the tokens of a segment, and marks which of them are trained on.

Texts are tokenised part by part, as they were counted, so that a segment is as long as planned. If it isn't, the sample
does not match its index.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from schemas.records.document import Document, Role
from schemas.records.training_shard import CaptionedImage
from training.batch import IGNORED
from training.data.markup import Markup
from training.data.options import SourceText
from training.data.pieces import WHOLE, Piece
from training.data.texts import parts_of
from training.model.tokens import TextTokenizer

Part = str | int


@dataclass
class Segment:
    """Holds the tokens of a sample, or of a piece of one."""

    ids: list[int] = field(default_factory=list)
    is_learnt: list[bool] = field(default_factory=list)
    images: list[int] = field(default_factory=list)  # numbers of its images, in order

    def add(self, ids: Iterable[int], is_learnt: bool = True) -> None:
        """Appends tokens."""
        known = len(self.ids)
        self.ids += ids
        self.is_learnt += [is_learnt] * (len(self.ids) - known)

    def labels(self) -> NDArray[np.int64]:
        """Returns the label of each position: the next token if it is trained on, else `IGNORED`."""
        labels = np.full(len(self.ids), IGNORED, np.int64)
        labels[:-1] = np.where(self.is_learnt, self.ids, IGNORED)[1:]
        return labels


class SampleReader:
    """Makes segments of the samples of all sources."""

    def __init__(self, tokenizer: TextTokenizer, markup: Markup, seed: int) -> None:
        self.tokenizer, self.markup, self.seed = tokenizer, markup, seed

    def segment(
        self, record: CaptionedImage | Document, rule: SourceText, piece: Piece, tiles: list[int]
    ) -> Segment | None:
        """Returns the tokens of a piece, or None if the sample has no text that the rule asks for.

        `tiles` is the number of tiles of each image.
        """
        parts = parts_of(record, rule, self.seed)
        if parts is None:
            return None
        if isinstance(record, Document) and record.roles is not None:
            return self._conversation(parts, record.roles, tiles)
        return self._document(parts, piece, tiles)

    def _document(self, parts: list[Part], piece: Piece, tiles: list[int]) -> Segment:
        """Joins the parts of a piece with the markup between them."""
        segment = Segment()
        last = len(parts) if piece.last_part == WHOLE else piece.last_part
        for number in range(piece.part, min(last + 1, len(parts))):
            part = parts[number]
            if number == last and not piece.last_token:
                break
            if isinstance(part, int):
                if segment.images:
                    segment.add(self.markup.end_of_chunk)
                self._add_image(segment, part, tiles)
                continue
            if number > piece.part and isinstance(parts[number - 1], str):
                segment.add(self.markup.joint)
            begin = piece.token if number == piece.part else 0
            segment.add(self.tokenizer.encode(part)[begin : piece.last_token if number == last else None])
        if last == len(parts):
            segment.add(self.markup.closing(len(tiles)))
        return segment

    def _conversation(self, parts: list[Part], roles: tuple[Role, ...], tiles: list[int]) -> Segment:
        """Formats all turns by the template. Only the assistant's words, and the ends of its turns, are trained on."""
        segment, chat = Segment(), self.markup.chat
        if roles[0] != "system":
            segment.add(chat.system, False)
        turns = groupby(zip(roles, parts, strict=True), key=lambda spoken: spoken[0])
        for role, spoken in turns:
            is_learnt = role == "assistant"
            segment.add(chat.opening(role), False)
            for _, part in spoken:
                if isinstance(part, int):
                    self._add_image(segment, part, tiles)
                    segment.add(chat.after_image, False)
                else:
                    segment.add(self.tokenizer.encode(part), is_learnt)
            segment.add(chat.closing, is_learnt)
        return segment

    def _add_image(self, segment: Segment, number: int, tiles: list[int]) -> None:
        segment.images.append(number)
        segment.add([self.markup.image] * (tiles[number] * self.markup.tokens_per_tile), False)
