"""The sequence of packs: any place of it is found without the way there, and nothing is left out unsaid."""

import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.mixture.plan import Mixture, Plan, PlannedSamples, Source, plan_mixture
from schemas.errors import UsageError
from schemas.records.document import Role
from tests.training.support.sets import TOKENS_PER_TILE, captioned, document, mixed, plan, tokenizer, write_set
from training.data.options import SourceTextOptions
from training.data.pieces import Piece
from training.data.plan import Cursor, Pack, PackPlan, Sources, check_unchanged
from training.data.tables import SampleTable


def same(one: list[Pack], other: list[Pack]) -> bool:
    return len(one) == len(other) and all(
        (a.cursor, a.left_out, a.split) == (b.cursor, b.left_out, b.split)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("sources", "samples", "pieces"))
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    folder = tmp_path_factory.mktemp("plan")
    return plan(folder, mixed(folder, tokenizer(folder)[0]), packing_window=10)


def test_every_sample_is_in_a_pack_once_and_every_pack_within_its_budgets(small: PackPlan) -> None:
    packs = list(small.iterate_packs())
    assert small.window_count == 8
    drawn = [(source, sample) for unit in packs for source, sample in zip(unit.sources, unit.samples, strict=True)]
    assert sorted(drawn) == [(source, sample) for source in range(3) for sample in range(24)]
    assert all(unit.lengths.sum() <= 64 and unit.tiles.sum() <= 32 for unit in packs)
    assert {tuple(piece) for unit in packs for piece in unit.pieces.tolist()} == {(0, 0, -1, 0)}
    rows = [row for unit in packs for row in small.read_rows(unit)]
    assert len({row["key"] for row in rows}) == 72
    assert small.sources.names == ["captions", "docs", "text"]
    assert [row["path"].split("/")[-3] for row in small.read_rows(packs[0])] == [
        small.sources.names[source] for source in packs[0].sources
    ]


def test_the_first_shard_is_that_of_the_first_sample(small: PackPlan) -> None:
    first, second = list(small.iterate_packs())[:2]
    empty = replace(first, sources=first.sources[:0], samples=first.samples[:0])
    for units, pack in (([first, second], first), ([second, first], second), ([empty, second], second)):
        assert small.find_first_shard(units) == small.read_rows(pack)[0]["path"]
    assert small.find_first_shard([empty]) == small.find_first_shard([]) == ""


def test_any_cursor_goes_on_where_it_is(small: PackPlan) -> None:
    packs = list(small.iterate_packs())
    for number, unit in enumerate(packs):
        assert (
            same(list(small.iterate_packs(unit.cursor)), packs[number + 1 :]) or unit.cursor.pack
        )  # told once, by the first
        assert [one.samples.tolist() for one in small.iterate_packs(unit.cursor)] == [
            one.samples.tolist() for one in packs[number + 1 :]
        ]
    assert packs[-1].cursor == Cursor(small.window_count, 0)


def test_packs_of_a_window_come_in_another_order_for_another_seed(tmp_path: Path) -> None:
    sources = mixed(tmp_path, tokenizer(tmp_path)[0])
    one, other = plan(tmp_path, sources, packing_window=72), plan(tmp_path, sources, packing_window=72, seed=1)
    firsts = [int(unit.samples[0]) for unit in one.iterate_packs()]
    assert firsts != [int(unit.samples[0]) for unit in other.iterate_packs()]
    assert one.fingerprint != other.fingerprint


def test_what_is_too_long_is_cut_or_left_out_and_told(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    docs = [
        document(0, ["x" * 150]),  # 64, 64, 22 and the end
        document(1, ["a" * 40, (64, 48), "b" * 40]),  # cut 20 letters behind the image
        document(2, ["q" * 70, "a"], ["user", "assistant"]),
        document(3, [*[(64, 48)] * 40, "a"], [*["user"] * 40, "assistant"]),
        document(4, ["short"]),
        document(5, [(64, 48)]),
    ]
    made = plan(tmp_path, {"docs": write_set(tmp_path / "docs", docs, words)})
    packs = list(made.iterate_packs())
    assert packs[0].left_out == {"docs.too_long": 1, "docs.too_many_images": 1, "docs.no_text": 1}
    assert packs[0].split == {"docs": 5}
    assert all((unit.left_out, unit.split) == ({}, {}) for unit in packs[1:])
    pieces = sorted(
        (int(sample), tuple(piece), int(length))
        for unit in packs
        for sample, piece, length in zip(unit.samples, unit.pieces.tolist(), unit.lengths, strict=True)
    )
    assert pieces == [
        (0, (0, 0, 0, 64), 64),
        (0, (0, 64, 0, 128), 64),
        (0, (0, 128, 1, 0), 23),
        (1, (0, 0, 2, 20), 64),
        (1, (2, 20, 3, 0), 22),
        (4, (0, 0, -1, 0), 6),
    ]


def test_conversations_are_cut_and_turns_that_fit_nowhere_are_counted(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    exchange: list[Role] = ["user", "assistant"]
    docs = [
        document(0, ["a" * 20, "b" * 20, "c" * 60, "d", "e" * 20, "f" * 20], exchange * 3),  # the second is too long
        document(1, ["a" * 60, "b", *[(64, 48)] * 40, "c"], [*exchange, *["user"] * 40, "assistant"]),  # none fits
        document(2, ["a", "b", (64, 48), "c" * 20, "d" * 50], [*exchange, "user", *exchange]),  # nor does the tail
        document(3, ["a" * 60, "b"], exchange),
    ]
    made = plan(tmp_path, {"docs": write_set(tmp_path / "docs", docs, words)})
    packs = list(made.iterate_packs())
    assert packs[0].left_out == {"docs.cut_turns": 4, "docs.too_many_images": 1, "docs.too_long": 1}
    assert packs[0].split == {"docs": 3}
    pieces = sorted(
        (int(sample), tuple(piece), int(length), int(tiles))
        for unit in packs
        for sample, piece, length, tiles in zip(
            unit.samples, unit.pieces.tolist(), unit.lengths, unit.tiles, strict=True
        )
    )
    assert pieces == [
        (0, (0, 0, 2, 0), 48, 0),
        (0, (4, 0, 6, 0), 48, 0),
        (2, (0, 0, 2, 0), 10, 0),
    ]


def test_an_image_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "ocr", [captioned(0, "a", (100, 100)), captioned(1, "b", (200, 60))], words)
    made = plan(tmp_path, {"ocr": found}, any_resolution=True, tiles_per_sequence=4)
    packs = list(made.iterate_packs())
    assert [unit.samples.tolist() for unit in packs] == [[1]]  # 3 tiles and a thumbnail
    assert packs[0].left_out == {"ocr.image_too_large": 1}  # 2 x 2 and a thumbnail


def kept(made: PackPlan) -> tuple[list[tuple[int, int, int, bool]], dict[str, int]]:
    """Returns sample, length, tiles and wholeness of each piece, and what the first window leaves out."""
    packs = list(made.iterate_packs())
    pieces = sorted(
        (int(sample), int(length), int(tiles), tuple(piece) == tuple(Piece()))
        for unit in packs
        for sample, length, tiles, piece in zip(
            unit.samples, unit.lengths, unit.tiles, unit.pieces.tolist(), strict=True
        )
    )
    return pieces, packs[0].left_out


def test_a_sample_of_exactly_a_sequence_stays_whole(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    talk: list[Role] = ["user", "assistant"]  # 8 tokens of the template around their texts
    docs = [
        document(0, ["x" * 63]),  # 64 with the end
        document(1, ["x" * 64]),
        document(2, ["y" * 55, "z"], talk),
        document(3, ["y" * 56, "z"], talk),
    ]
    made = plan(tmp_path, {"docs": write_set(tmp_path / "docs", docs, words)})
    assert kept(made) == ([(0, 64, 0, True), (1, 64, 0, False), (2, 64, 0, True)], {"docs.too_long": 1})


def test_a_sample_of_exactly_a_sequences_tiles_stays_whole(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    image, short, long = (64, 48), "a", "a" * 60
    docs = [
        document(0, [image, image, short]),
        document(1, [image, image, image, short]),
        document(2, [image, image, short], ["user", "user", "assistant"]),
        document(3, [image, image, image, short], ["user", "user", "user", "assistant"]),
        document(4, [image, image, long], ["user", "user", "assistant"]),
    ]
    made = plan(tmp_path, {"docs": write_set(tmp_path / "docs", docs, words)}, tiles_per_sequence=2)
    pieces, left_out = kept(made)
    assert [(sample, tiles, whole) for sample, _, tiles, whole in pieces] == [
        *((0, 2, True), (1, 1, False), (1, 2, False), (2, 2, True))
    ]
    assert left_out == {"docs.too_many_images": 1, "docs.too_long": 1}


@pytest.mark.parametrize(
    ("sequence", "tiles", "fault"),
    [(17, 4, None), (16, 4, "ocr.image_too_large"), (17, 3, "ocr.image_too_large"), (64, 4, None)],
)
def test_an_image_fits_with_one_more_position(tmp_path: Path, sequence: int, tiles: int, fault: str | None) -> None:
    """3 tiles and a thumbnail of 4 positions each; an image that fills a sequence alone teaches nothing."""
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "ocr", [captioned(0, "b", (200, 60))], words)
    made = plan(tmp_path, {"ocr": found}, True, sequence_length=sequence, tiles_per_sequence=tiles)
    pieces, left_out = kept(made)
    assert left_out == ({fault: 1} if fault else {})
    assert sum(count for _, _, count, _ in pieces) == (0 if fault else 4)


def test_a_window_of_nothing_is_one_empty_pack(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "docs", [document(n, [(64, 48)]) for n in range(3)], words)
    packs = list(plan(tmp_path, {"docs": found}, packing_window=2).iterate_packs())
    assert [(len(unit.samples), unit.left_out) for unit in packs] == [
        (0, {"docs.no_text": 2}),
        (0, {"docs.no_text": 1}),
    ]


def test_shares_are_the_mixers(tmp_path: Path) -> None:
    sources = mixed(tmp_path, tokenizer(tmp_path)[0])
    weights = {"captions": 2, "docs": 1, "text": 1}
    made = plan(tmp_path, sources, weights=weights, stop="first_exhausted", packing_window=8)
    counts = Counter(source for unit in made.iterate_packs() for source in unit.sources.tolist())
    assert counts == {0: 24, 1: 12, 2: 11}  # the captions run out
    by_tokens = plan(tmp_path, sources, unit="tokens", stop="first_exhausted")
    tokens = Counter[int]()
    for unit in by_tokens.iterate_packs():
        for source, sample in zip(unit.sources.tolist(), unit.samples.tolist(), strict=True):
            tokens[source] += int(by_tokens.sources.tables[source].numbers["tokens"][sample])
    largest = max(int(table.numbers["tokens"].max()) for table in by_tokens.sources.tables)
    assert max(tokens.values()) - min(tokens.values()) <= 2 * largest


def test_a_change_is_named(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    sources = mixed(tmp_path, words)
    begun = plan(tmp_path, sources).fingerprint
    check_unchanged(begun, plan(tmp_path, sources).fingerprint)
    shutil.rmtree(tmp_path / "docs")
    write_set(tmp_path / "docs", [document(n, ["another"]) for n in range(24)], words)

    def fault(now: dict[str, str]) -> str:
        with pytest.raises(UsageError) as error:
            check_unchanged(begun, now)
        return str(error.value)

    behind = (
        "has changed since this run started, so its order can't continue: "
        "restore it, or start again with another --output"
    )
    assert fault(plan(tmp_path, sources).fingerprint) == f"data: source docs {behind}"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"seed": 1}, "the mixture"),
        ({"packing_window": 5}, "the packing"),
        ({"end_of_chunk": False}, "the text options or markup"),
        ({"texts": {"docs": {"strip_filler": True}}}, "the text options or markup"),
        ({"any_resolution": True}, "the image tiling"),
    ]
    (tmp_path / "again").mkdir()
    sources = mixed(tmp_path / "again", words)
    assert plan(tmp_path, sources).fingerprint == begun  # where the sets lie is no matter
    for change, name in changes:
        assert fault(plan(tmp_path, sources, **change).fingerprint) == f"data: {name} {behind}"


def test_a_run_that_left_long_conversations_out_cannot_continue(tmp_path: Path) -> None:
    """Its windows have other packs; no checkpoint says which of its samples were conversations."""
    now = plan(tmp_path, mixed(tmp_path, tokenizer(tmp_path)[0])).fingerprint
    before = now | {"the packing": hashlib.sha256(b"[64, 32, 4096]").hexdigest()}
    with pytest.raises(UsageError, match=r"^data: the packing has changed since this run started"):
        check_unchanged(before, now)


class _Counting(Plan):
    """A plan that knows how much was asked of it."""

    asked = 0

    def take(self, start: int, stop: int) -> PlannedSamples:
        self.asked += stop - start
        return super().take(start, stop)


def test_a_late_cursor_costs_one_window(small: PackPlan) -> None:
    """Fifty million samples of two sources that are nowhere but in two arrays."""
    length, window = 25_000_000, 4096
    random = np.random.default_rng(0)
    numbers = {
        "words": random.integers(10, 400, length, np.int32),
        "tiles": random.integers(0, 4, length, np.int32),
    }
    made = plan_mixture(
        Mixture({"a": 1, "b": 3}, repeat={"a": 1, "b": 3}, seed=0),  # type: ignore[dict-item]
        [Source("a", length), Source("b", length)],
    )
    counting = _Counting(made.mixture, made.sources, made.phases, made.counts)
    table = SampleTable(numbers, None)  # type: ignore[arg-type]
    sources = Sources(
        ["a", "b"], [table, table], [SourceTextOptions()] * 2, [small.sequence_format.tiler] * 2, np.arange(2)
    )
    markup = replace(small.sequence_format.markup, tokens_per_tile=128)
    form = replace(small.sequence_format, markup=markup, max_tokens=4096, max_tiles=32, window=window)
    packs = PackPlan(counting, sources, form, {})
    for cursor in (Cursor(0, 7), Cursor(20_000, 3)):
        counting.asked = 0
        first = next(packs.iterate_packs(cursor))
        assert counting.asked == window
        assert first.cursor == Cursor(cursor.window, cursor.pack + 1)
    assert small.sequence_format.markup.tokens_per_tile == TOKENS_PER_TILE
