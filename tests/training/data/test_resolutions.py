"""One run takes the images of one source on one tile each and those of another at any resolution, as planned."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curation.images.tile_grids import Size
from schemas.records.document import Role
from tests.training.support.sets import TOKENS_PER_TILE, captioned, document, plan, tokenizer, write_set
from training.data.assemble import Assembler
from training.data.options import DataOptions
from training.data.plan import PackPlan

SIZES: list[Size] = [(60, 60), (200, 50), (30, 100)]
ROLES: list[Role] = ["user", "user", "assistant"]
ANY = {"any_resolution": {"enabled": True}}


def sources_of(folder: Path) -> dict[str, str]:
    words, _ = tokenizer(folder)
    captions = [captioned(n, f"caption {n}", SIZES[n % 3]) for n in range(6)]
    talks = [document(n, [SIZES[n % 3], f"what {n}?", "a cat"], ROLES) for n in range(6)]
    return {
        "captions": write_set(folder / "captions", captions, words),
        "talks": write_set(folder / "talks", talks, words),
    }


def count_tiles(made: PackPlan) -> dict[str, dict[Size, set[int]]]:
    """The tiles that images of each size become, by source, as the batches have them."""
    found: dict[str, dict[Size, set[int]]] = {name: {size: set() for size in SIZES} for name in made.sources.names}
    for unit in made.iterate_packs():
        batch, faults = Assembler(made).assemble(unit)
        assert not faults
        grids = iter(batch.grids.tolist())
        for source, row in zip(unit.sources.tolist(), made.read_rows(unit), strict=True):
            (image,) = row["image_details"]
            columns, rows = next(grids)
            found[made.sources.names[source]][image["width"], image["height"]].add(columns * rows + 1)
    return found


def test_captions_fixed_and_instructions_tiled(tmp_path: Path) -> None:
    sources = sources_of(tmp_path)
    made = plan(tmp_path, sources, model=ANY, by_source={"captions": {"enabled": False}}, sequence_length=256)
    tiled = {(60, 60): {5}, (200, 50): {4}, (30, 100): {3}}
    assert count_tiles(made) == {"captions": {size: {1} for size in SIZES}, "talks": tiled}
    other = plan(tmp_path, sources, by_source={"talks": {"enabled": True}}, sequence_length=256)
    assert count_tiles(other) == count_tiles(made)
    everywhere = plan(tmp_path, sources, model=ANY, sequence_length=256)
    assert count_tiles(everywhere)["captions"] == tiled
    assert made.fingerprint["the image size"] != everywhere.fingerprint["the image size"]


def test_a_source_has_the_models_options_but_for_its_own(tmp_path: Path) -> None:
    model = {"any_resolution": {"enabled": True, "grids": [[2, 2]], "tile_order": "reference"}}
    own = {"captions": {"canvas": "squash"}, "talks": {"grids": [[1, 2]]}}
    captions, talks = plan(tmp_path, sources_of(tmp_path), model=model, by_source=own).sources.tilers
    assert (captions.options.canvas, captions.options.grids, captions.options.enabled) == ("squash", ((2, 2),), True)
    assert (talks.options.canvas, talks.options.grids, talks.options.tile_order) == ("pad", ((1, 2),), "reference")


def test_a_source_without_its_own_changes_no_hash(tmp_path: Path) -> None:
    """Runs that began before this option continue."""
    sources = sources_of(tmp_path)
    before = plan(tmp_path, sources)
    assert plan(tmp_path, sources, by_source={"captions": {"enabled": False}}).fingerprint == before.fingerprint
    assert "any_resolution" not in DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}}).model_dump()


def test_an_unknown_source_is_named() -> None:
    asked = {"sources": {"a": "a"}, "weights": {"a": 1}, "any_resolution": {"b": {"enabled": True}}}
    with pytest.raises(ValidationError, match="there is no source 'b'"):
        DataOptions.model_validate(asked)


def test_fixed_sampling_takes_the_tokens_of_a_tile_and_all_the_tiles(tmp_path: Path) -> None:
    """Also where a document or a conversation is cut, for either budget."""
    words, _ = tokenizer(tmp_path)
    parts: list[Any] = ["a" * 20, (60, 60), "b" * 20, (200, 50), "c" * 20]
    talk = [(200, 50), "q" * 20, "a" * 20, "r" * 10, "b" * 10]
    roles: list[Role] = ["user", "user", "assistant", "user", "assistant"]
    docs = [document(0, parts), document(1, talk, roles), document(2, ["x", (60, 60)])]
    source = write_set(tmp_path / "docs", docs, words)
    model = {"any_resolution": {"enabled": True, "fixed_sampling": True}}
    for limits in ({"sequence_length": 64}, {"tiles_per_sequence": 6, "sequence_length": 128}):
        made = plan(tmp_path, {"docs": source}, model=model, **limits)
        tiles, images = 0, 0
        for unit in made.iterate_packs():
            assert unit.lengths.sum() <= made.sequence_format.max_tokens
            assert unit.tiles.sum() <= made.sequence_format.max_tiles
            batch, faults = Assembler(made).assemble(unit)
            assert not faults
            assert len(batch.tiles) == unit.tiles.sum()
            assert int((batch.tokens == made.sequence_format.markup.image).sum()) == TOKENS_PER_TILE * len(batch.grids)
            tiles, images = tiles + len(batch.tiles), images + len(batch.grids)
        assert images >= 4
        assert tiles > 2 * images
    assert made.sources.tables[0].numbers["tiles"].tolist() == [9, 4, 5]
