"""Turns a stored sample into the tokens of a segment, and marks which of them are trained on.

Texts are tokenised part by part, as they were counted, so that a segment is as long as planned. If it isn't, the sample
does not match its index.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, Role
from training.batch import IGNORE_INDEX
from training.data.markup import Markup
from training.data.options import SourceTextOptions
from training.data.pieces import WHOLE_SAMPLE, Piece
from training.data.texts import select_parts
from training.data.turns import select_turn_parts
from training.model.tokens import TextTokenizer

TextOrImage = str | int


@dataclass
class Segment:
    """Holds the tokens of a sample, or of a piece of one."""

    ids: list[int] = field(default_factory=list)
    loss_mask: list[bool] = field(default_factory=list)
    instruction_mask: list[bool] = field(default_factory=list)
    images: list[int] = field(default_factory=list)  # numbers of its images, in order

    def add(self, ids: Iterable[int], has_loss: bool = True, is_instruction: bool = False) -> None:
        """Appends tokens."""
        known = len(self.ids)
        self.ids += ids
        self.loss_mask += [has_loss] * (len(self.ids) - known)
        self.instruction_mask += [is_instruction] * (len(self.ids) - known)

    def build_labels(self) -> NDArray[np.int64]:
        """Returns the label of each position: the next token if it is trained on, else `IGNORE_INDEX`."""
        labels = np.full(len(self.ids), IGNORE_INDEX, np.int64)
        labels[:-1] = np.where(self.loss_mask, self.ids, IGNORE_INDEX)[1:]
        return labels


class SampleTokenizer:
    """Makes segments of the samples of all sources."""

    def __init__(self, tokenizer: TextTokenizer, markup: Markup, seed: int) -> None:
        self.tokenizer, self.markup, self.seed = tokenizer, markup, seed

    def tokenize(
        self, record: CaptionedImage | Document, rule: SourceTextOptions, piece: Piece, tiles: list[int]
    ) -> Segment | None:
        """Returns the tokens of a piece, or None if the sample has no text that the rule asks for.

        `tiles` is the number of tiles of each image.
        """
        parts = select_parts(record, rule, self.seed)
        if parts is None:
            return None
        if isinstance(record, Document) and record.roles is not None:
            return self._tokenize_conversation(parts, record.roles, piece, tiles)
        return self._tokenize_document(parts, piece, tiles)

    def _tokenize_document(self, parts: list[TextOrImage], piece: Piece, tiles: list[int]) -> Segment:
        """Joins the parts of a piece with the markup between them."""
        segment = Segment()
        if (piece.part, piece.token) == (0, 0):
            segment.add(self.markup.bos, False)
        stop = len(parts) if piece.stop_part == WHOLE_SAMPLE else piece.stop_part
        for number in range(piece.part, min(stop + 1, len(parts))):
            part = parts[number]
            if number == stop and not piece.stop_token:
                break
            if isinstance(part, int):
                if segment.images:
                    segment.add(self.markup.end_of_chunk)
                self._add_image(segment, part, tiles)
                continue
            if number > piece.part and isinstance(parts[number - 1], str):
                segment.add(self.markup.joint)
            begin = piece.token if number == piece.part else 0
            segment.add(self.tokenizer.encode(part)[begin : piece.stop_token if number == stop else None])
        if stop == len(parts):
            segment.add(self.markup.build_closing(len(tiles)))
        return segment

    def _tokenize_conversation(
        self, parts: list[TextOrImage], roles: tuple[Role, ...], piece: Piece, tiles: list[int]
    ) -> Segment:
        """Formats the turns of a piece. Only the assistant's words, and the ends of its turns, are trained on.

        The words of the piece's first user turn are its instruction.
        """
        segment, chat, previous, has_instruction = Segment(), self.markup.chat, None, False
        chosen = select_turn_parts(roles, [isinstance(part, int) for part in parts], piece)
        for role, spoken in groupby(chosen, key=lambda one: one[0]):
            has_loss = role == "assistant"
            is_instruction = role == "user" and not has_instruction
            has_instruction |= is_instruction
            segment.add(chat.find_opening(previous, role), False)
            for _, number in spoken:
                part = parts[number]
                if isinstance(part, int):
                    self._add_image(segment, part, tiles)
                    segment.add(chat.after_image, False)
                else:
                    segment.add(self.tokenizer.encode(part), has_loss, is_instruction)
            segment.add(chat.find_closing(role), has_loss)
            previous = role
        segment.add(chat.end, False)
        return segment

    def _add_image(self, segment: Segment, number: int, tiles: list[int]) -> None:
        segment.images.append(number)
        segment.add([self.markup.image] * self.markup.count_image_tokens(tiles[number]), False)
