"""Where documents that are too long are cut, and that their pieces read as they were planned."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.support import chat_templates
from tests.training.support.chat_templates import LLAMA3
from tests.training.support.sets import TOKENS_PER_TILE, document, tokenizer
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import PartSize, Piece, SizedPiece, split_into_pieces
from training.data.samples import SampleTokenizer, Segment

STORED = SourceTextOptions()
IMAGE = PartSize(0, 1)


@cache
def _reader(bos: bool = False) -> SampleTokenizer:
    with TemporaryDirectory() as folder:
        words = chat_templates.load(Path(folder), LLAMA3) if bos else tokenizer(Path(folder))[0]
    options = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}, "bos": bos})
    return SampleTokenizer(words, Markup.from_tokenizer(words, options, TOKENS_PER_TILE), 0)


@pytest.fixture
def reader() -> SampleTokenizer:
    return _reader()


def text(tokens: int) -> PartSize:
    return PartSize(tokens, 0)


def cuts(
    reader: SampleTokenizer, *parts: PartSize, room: int = 20, tiles: int = 3
) -> list[tuple[tuple[int, ...], int]]:
    return [(tuple(found.piece), found.length) for found in split_into_pieces(parts, reader.markup, room, tiles)]


def test_a_text_is_cut_unless_the_piece_is_nearly_full(reader: SampleTokenizer) -> None:
    # 8 and 1 for the line break and 8, 1 and 2; then the other 6 and the end
    assert cuts(reader, text(8), text(8), text(8)) == [((0, 0, 2, 2), 20), ((2, 2, 3, 0), 7)]
    # of 128 places less than 2 are left behind a line break: the text stays whole
    assert cuts(reader, text(126), text(8), room=128) == [((0, 0, 1, 0), 126), ((1, 0, 2, 0), 9)]
    assert cuts(reader, text(125), text(8), room=128) == [((0, 0, 1, 2), 128), ((1, 2, 2, 0), 7)]


def test_an_image_goes_to_the_next_piece_as_a_whole(reader: SampleTokenizer) -> None:
    # an image is 4; a second one in a piece has the end of a chunk before it; the end of one closes the document
    assert cuts(reader, text(3), IMAGE, text(3), IMAGE) == [((0, 0, 4, 0), 3 + 4 + 3 + 1 + 4 + 2)]
    assert cuts(reader, IMAGE, text(12), IMAGE, text(2)) == [((0, 0, 2, 0), 16), ((2, 0, 4, 0), 8)]


def test_the_image_budget_cuts_too(reader: SampleTokenizer) -> None:
    assert cuts(reader, IMAGE, IMAGE, IMAGE, tiles=2, room=40) == [((0, 0, 2, 0), 9), ((2, 0, 3, 0), 6)]
    assert cuts(reader, IMAGE, PartSize(0, 4), tiles=3, room=40) == []  # no piece could hold it
    assert cuts(reader, PartSize(0, 2), text(1), room=7) == []


def test_a_long_text_is_cut_at_tokens_and_fills_the_piece_before(reader: SampleTokenizer) -> None:
    assert cuts(reader, text(50)) == [((0, 0, 0, 20), 20), ((0, 20, 0, 40), 20), ((0, 40, 1, 0), 11)]
    assert cuts(reader, text(5), text(30)) == [((0, 0, 1, 14), 20), ((1, 14, 2, 0), 17)]
    assert cuts(reader, IMAGE, text(30), text(2)) == [((0, 0, 1, 16), 20), ((1, 16, 3, 0), 14 + 1 + 2 + 2)]
    assert cuts(reader, text(40), text(2)) == [((0, 0, 0, 20), 20), ((0, 20, 1, 0), 20), ((1, 0, 2, 0), 3)]


def test_a_bos_begins_the_first_piece_alone() -> None:
    with_bos = _reader(bos=True)
    assert cuts(with_bos, text(30)) == [((0, 0, 0, 19), 20), ((0, 19, 1, 0), 12)]
    assert cuts(with_bos, PartSize(0, 2), text(9), room=9) == [((0, 0, 1, 0), 9), ((1, 0, 1, 9), 9)]
    assert cuts(with_bos, PartSize(0, 2), text(9), room=8) == []  # an image fills a sequence, but for the BOS


def test_an_end_that_is_left_alone_is_left_out(reader: SampleTokenizer) -> None:
    assert cuts(reader, text(20)) == [((0, 0, 0, 20), 20)]


@given(
    st.lists(st.integers(1, 60) | st.none(), min_size=1, max_size=12),
    st.integers(16, 64),
    st.integers(1, 4),
    st.booleans(),
)
def test_pieces_are_as_long_as_planned_and_hold_everything_once(
    sizes: list[int | None], room: int, tiles: int, bos: bool
) -> None:
    reader = _reader(bos)
    letters = "abcdefghijklmnopqrstuvwxyz" * 3
    parts = [(64, 48) if size is None else letters[:size] for size in sizes]
    stored = document(0, parts)
    found = split_into_pieces([IMAGE if size is None else text(size) for size in sizes], reader.markup, room, tiles)
    segments = [_segment(reader, stored, one, len(stored.images)) for one in found]
    assert [len(segment.ids) for segment in segments] == [one.length for one in found]
    assert all(
        one.length <= room and one.tiles == len(s.images) <= tiles for one, s in zip(found, segments, strict=True)
    )
    assert [image for segment in segments for image in segment.images] == list(range(len(stored.images)))
    special = {reader.markup.image, reader.markup.end, *reader.markup.end_of_chunk, *reader.markup.joint}
    said = [number for segment in segments for number in segment.ids if number not in special]
    if bos:
        assert said.pop(0) == reader.tokenizer.bos
    assert said == list("".join(part for part in parts if isinstance(part, str)).encode())
    whole = reader.tokenize(stored, STORED, Piece(), [1] * len(stored.images))
    if whole is not None and len(whole.ids) <= room and len(stored.images) <= tiles:
        assert [segment.ids for segment in segments] == [whole.ids]


def _segment(reader: SampleTokenizer, stored: object, one: SizedPiece, images: int) -> Segment:
    segment = reader.tokenize(stored, STORED, one.piece, [1] * images)  # type: ignore[arg-type]
    assert segment is not None
    return segment
