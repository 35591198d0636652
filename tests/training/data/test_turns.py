"""Where conversations that are too long are cut, and that their pieces read as they were planned."""

from functools import cache
from itertools import cycle, groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.records.document import Document, Role, get_speaker
from tests.training.support import chat_templates
from tests.training.support.sets import TOKENS_PER_TILE, document, tokenizer
from training.batch import IGNORE_INDEX
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import PartSize, Piece
from training.data.samples import SampleTokenizer, Segment
from training.data.turns import CutConversation, cut_conversation

STORED = SourceTextOptions()
IMAGE = (64, 48)
TALK: list[Role] = ["user", "assistant"]


@cache
def reader(name: str = "markers", system: str | None = None) -> SampleTokenizer:
    with TemporaryDirectory() as folder:
        if name == "markers":
            words, _ = tokenizer(Path(folder))
        else:
            words = chat_templates.load(Path(folder), chat_templates.PUBLISHED[name])
    options = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}, "system_prompt": system})
    return SampleTokenizer(words, Markup.from_tokenizer(words, options, TOKENS_PER_TILE), 0)


def cut(own: SampleTokenizer, record: Document, room: int, tiles: int = 9) -> CutConversation:
    assert record.roles is not None
    parts = [
        PartSize(len(own.tokenizer.encode(part)), 0) if isinstance(part, str) else PartSize(0, 1)
        for part in record.parts
    ]
    return cut_conversation(parts, record.roles, own.markup, room, tiles)


def segments(own: SampleTokenizer, record: Document, found: CutConversation) -> list[Segment]:
    """What the pieces read; it is as planned."""
    made = [own.tokenize(record, STORED, one.piece, [1] * len(record.images)) for one in found.pieces]
    for segment, one in zip(made, found.pieces, strict=True):
        assert segment is not None
        assert (len(segment.ids), len(segment.images)) == (one.length, one.tiles)
    return [segment for segment in made if segment is not None]


def read(own: SampleTokenizer, record: Document, room: int, tiles: int = 9) -> list[str]:
    made = segments(own, record, cut(own, record, room, tiles))
    return [own.tokenizer.decode(one.ids).replace("<image>" * TOKENS_PER_TILE, "<image>") for one in made]


def asked(*texts: str) -> str:
    """A conversation of these texts by Phi-3's markers."""
    roles = islice(cycle(TALK), len(texts))
    return "".join(f"<|{role}|>\n{text}<|end|>\n" for role, text in zip(roles, texts, strict=True))


def test_a_conversation_is_cut_before_a_question() -> None:
    record = document(1, ["one", "two", "three", "four", "five", "six"], TALK * 3)
    first, second, third = ("one", "two"), ("three", "four"), ("five", "six")
    assert read(reader(), record, 46) == [asked(*first, *second, *third)]
    assert read(reader(), record, 45) == [asked(*first, *second), asked(*third)]
    assert read(reader(), record, 31) == [asked(*first, *second), asked(*third)]
    assert read(reader(), record, 30) == [asked(*first), asked(*second), asked(*third)]
    assert [(tuple(one.piece), one.length) for one in cut(reader(), record, 31).pieces] == [
        ((0, 0, 4, 0), 31),
        ((4, 0, 6, 0), 15),
    ]
    assert cut(reader(), record, 17).dropped_turns == 0
    assert read(reader(), record, 16) == [asked(*first), asked(*third)]  # what is too long by itself goes alone
    assert cut(reader(), record, 16).dropped_turns == 2
    assert cut(reader(), record, 13) == CutConversation([], 6)


def test_later_pieces_repeat_the_system_turn_and_the_images_shown() -> None:
    record = document(
        1,
        ["S", IMAGE, "one", "two", "three", "four", IMAGE, "five", "six"],
        ["system", "user", "user", "assistant", "user", "assistant", "user", "user", "assistant"],
    )
    head, shown = "<|system|>\nS<|end|>\n", "<image>\n"
    first, second = head + asked(f"{shown}one", "two"), head + asked(f"{shown}three", "four")
    third = head + asked(f"{shown}{shown}five", "six")
    assert read(reader(), record, 40) == [first, second, third]
    assert segments(reader(), record, cut(reader(), record, 40))[2].images == [0, 1]
    assert [one.length for one in cut(reader(), record, 40).pieces] == [24, 27, 30]
    assert read(reader(), record, 40, tiles=1) == [first, second]  # two images do not fit
    assert cut(reader(), record, 40, tiles=1).dropped_turns == 2
    assert cut(reader(), record, 26).dropped_turns == 4


def test_the_recipes_system_text_is_in_every_piece() -> None:
    record = document(1, ["one", "two", "three", "four"], TALK * 2)
    head = "<|system|>\nBe kind.<|end|>\n"
    assert read(reader(system="Be kind."), record, 40) == [head + asked("one", "two"), head + asked("three", "four")]
    gemma = "<bos><start_of_turn>user\nBe kind.\n\n{}<end_of_turn>\n<start_of_turn>model\n{}<end_of_turn>\n"
    assert read(reader("gemma", "Be kind."), record, 40) == [gemma.format("one", "two"), gemma.format("three", "four")]


def test_only_answers_are_learnt_and_each_once() -> None:
    record = document(
        1,
        ["S", IMAGE, "one", "two", "three", "four", "five"],
        ["system", "user", "user", "assistant", "user", "context", "user"],
    )
    made = segments(reader(), record, cut(reader(), record, 26))
    assert [learn(reader(), one) for one in made] == ["two<|end|>\n"]
    assert cut(reader(), record, 26).dropped_turns == 3  # an answer that is context alone, and a question without one


def learn(own: SampleTokenizer, segment: Segment) -> str:
    return own.tokenizer.decode([label for label in segment.build_labels() if label != IGNORE_INDEX])


PART = st.tuples(st.sampled_from(("system", "user", "user", "assistant", "assistant", "context")), st.integers(0, 30))


@given(
    st.sampled_from(("markers", *chat_templates.PUBLISHED)),
    st.sampled_from((None, "Be kind.")),
    st.lists(PART, min_size=1, max_size=12),
    st.integers(16, 160),
    st.integers(1, 4),
)
def test_pieces_are_as_planned_and_every_answer_that_fits_is_learnt_once(
    name: str, system: str | None, said: list[tuple[Any, int]], room: int, tiles: int
) -> None:
    own = reader(name, system)
    roles: list[Role] = [role for role, _ in said]
    parts = [
        IMAGE if size % 4 == 0 and get_speaker(role) != "assistant" else f"{place:02}" + "x" * size
        for place, (role, size) in enumerate(said)
    ]
    record = document(0, parts, roles)
    found = cut(own, record, room, tiles)
    made = segments(own, record, found)
    assert all(one.length <= room and one.tiles <= tiles for one in found.pieces)
    learnt = "".join(learn(own, segment) for segment in made)
    count, kept = len(list(groupby(roles))) - (roles[0] == "system"), 0
    for start, stop in exchanges(roles):
        head = next((place for place, role in enumerate(roles) if role != "system"), len(roles))
        shown = [place for place in range(head, start) if not isinstance(parts[place], str)]
        places = [*range(head), *shown, *range(start, stop)]
        held = [roles[start] if place in shown else roles[place] for place in places]
        alone = document(0, [parts[place] for place in places], held)
        whole = own.tokenize(alone, STORED, Piece(), [1] * len(alone.images))
        assert whole is not None
        fits = len(whole.ids) <= room and len(alone.images) <= tiles
        for place in range(start, stop):
            if roles[place] == "assistant":
                assert learnt.count(str(parts[place])) == fits
        kept += any(one.piece[0] <= start and stop <= one.piece[2] for one in found.pieces) * len(
            list(groupby(roles[start:stop]))
        )
    assert found.dropped_turns == count - kept
    whole = own.tokenize(record, STORED, Piece(), [1] * len(record.images))
    if whole is not None and len(whole.ids) <= room and len(record.images) <= tiles and "assistant" in roles:
        assert [segment.ids for segment in made] == [whole.ids]


def exchanges(roles: list[Role]) -> list[tuple[int, int]]:
    """Where what is asked and its answer begin and end, behind a first system turn."""
    found: list[tuple[int, int]] = []
    for place, role in enumerate(roles):
        speaker = get_speaker(role)
        if speaker == "system" and all(before == "system" for before in roles[:place]):
            continue
        if not found or (speaker != "assistant" and get_speaker(roles[place - 1]) == "assistant"):
            found.append((place, place))
        found[-1] = (found[-1][0], place + 1)
    return found
