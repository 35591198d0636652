"""A model that takes images in each of the ways there are: as planned, packed as alone, exported and loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.tile_grids import Size
from schemas.errors import UsageError
from tests.training.support import tiny
from tests.training.support.sets import PATCH, TOKENS_PER_TILE, captioned, document, plan, tokenizer, write_set
from training.batch import Batch
from training.data.assemble import Assembler
from training.data.images import ImageTiler
from training.data.markup import Markup
from training.data.options import DataOptions
from training.data.plan import PackPlan
from training.model.config import ModelOptions
from training.model.connectors.c_abstractor import CAbstractorOptions
from training.model.generate import GenerateOptions, build_prompt_batch, generate
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_model, load_pretrained, save_pretrained
from training.model.tiles import cut_into_tiles
from training.model.tiling_options import AnyResolutionOptions
from training.model.tokens import load_tokenizer

SEEING = [name for name in tiny.MODES if name != "language"]
SIZES: list[Size] = [(60, 60), (200, 50), (30, 100), (56, 56), (90, 170)]
LIMIT = GenerateOptions(max_new_tokens=3)


def picture(size: Size, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def plan_of(folder: Path, mode: str, **options: Any) -> PackPlan:
    """Of captions, documents and conversations with images of all sizes; of texts alone for a model without a tower."""
    words, _ = tokenizer(folder)
    if mode == "language":
        records = [document(n, [f"text {n}", "and more"]) for n in range(6)]
    else:
        records = [document(n, [f"see {n}", SIZES[n % 5], "what?", SIZES[(n + 2) % 5], "end"]) for n in range(6)]
    sources = {"docs": write_set(folder / "docs", records, words)}
    if mode != "language":
        captions = [captioned(n, f"a picture {n}", SIZES[n % 5]) for n in range(6)]
        sources["captions"] = write_set(folder / "captions", captions, words)
    side = tiny.MODES[mode].get("vision", {}) or {}
    tile = side.get("image_size", 56)
    return plan(folder, sources, model=tiny.MODES[mode], tile=tile, sequence_length=256, **options)


def split_samples(batch: Batch, tokens_per_group: dict[int, int]) -> list[Batch]:
    """Each sample of a batch of one sequence by itself; `tokens_per_group` are the tokens of an image by its tiles."""
    found, image, tile = [], 0, 0
    for number in range(len(batch.samples[0])):
        own = batch.segments[0] == number
        rows = {name: getattr(batch, name)[:, own] for name in ("tokens", "labels", "positions", "sources")}
        left, grids, first = int((rows["tokens"] == tiny.IMAGE).sum()), [], tile
        while left:
            grids.append(batch.grids[image])
            tiles = int(grids[-1].prod()) + 1
            left, image, tile = left - tokens_per_group[tiles], image + 1, tile + tiles
        seen = {"tiles": batch.tiles[first:tile], "valid": batch.valid[first:tile]}
        sizes = torch.stack(grids) if grids else batch.grids[:0]
        instructions, segments = batch.instructions[:, own], torch.zeros_like(rows["tokens"])
        one = replace(batch, **rows, **seen, grids=sizes, instructions=instructions, segments=segments)
        found.append(replace(one, samples=((batch.samples[0][number],),)))
    assert tile == len(batch.tiles)
    return found


@pytest.mark.parametrize("mode", tiny.MODES)
def test_a_pack_is_its_samples(mode: str, tmp_path: Path) -> None:
    made = plan_of(tmp_path, mode)
    model = ResamplerLMM.build(tiny.options(tmp_path / "tokenizer", **tiny.MODES[mode]))
    counts = {tiles: made.sequence_format.markup.count_image_tokens(tiles) for tiles in range(1, 6)}
    compared = 0
    for unit in list(made.iterate_packs())[:2]:
        batch, faults = Assembler(made).assemble(unit)
        assert not faults
        packed = model(batch)[0]
        alone = torch.cat([model(one)[0] for one in split_samples(batch, counts)])
        assert (packed[: len(alone)] - alone).abs().max() <= 1e-5
        compared += len(batch.samples[0])
    assert compared > 2


@pytest.mark.parametrize("mode", tiny.MODES)
def test_exported_and_loaded(mode: str, tmp_path: Path) -> None:
    options = tiny.options(tiny.write_tokenizer(tmp_path / "tokenizer"), **tiny.MODES[mode], seed=4)
    model, words = build_model(options), load_tokenizer(options)
    save_pretrained(model, words, tmp_path / "model")
    loaded, again = load_pretrained(tmp_path / "model")
    assert loaded.options.any_resolution == options.any_resolution
    assert loaded.vision.frozen
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.state_dict().items())
    asked = ["what ", *(() if mode == "language" else (picture((60, 50)), picture((30, 90)))), "?"]
    batch = build_prompt_batch(model, words, [asked])
    assert torch.equal(loaded(batch), model(batch))
    assert generate(loaded, again, asked, LIMIT) == generate(model, words, asked, LIMIT)
    started = build_model(options, weights=str(tmp_path / "model"))
    assert all(torch.equal(tensor, state[key]) for key, tensor in started.state_dict().items())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResamplerLMM]:
    folder = tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return {mode: ResamplerLMM.build(tiny.options(folder, **tiny.MODES[mode])) for mode in SEEING}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SEEING), st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=3))
def test_tokens_planned_are_tokens_made(models: dict[str, ResamplerLMM], mode: str, sizes: list[Size]) -> None:
    """Of images of any sizes: what the planner counts from their sizes, the model makes from their pixels."""
    model = models[mode]
    options, tile, words = model.options, model.vision.image_size, load_tokenizer(model.options)
    asked = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}})
    markup = Markup.from_tokenizer(words, asked, model.tokens_per_tile, options.any_resolution.fixed_sampling)
    tiler = ImageTiler(options.any_resolution, tile, PATCH, model.tokens_per_tile)
    widths, heights = (np.asarray([size[side] for size in sizes]) for side in (0, 1))
    planned = tiler.count_tiles(widths, heights).tolist()
    cut = [cut_into_tiles(picture(size), options.any_resolution, tile, PATCH) for size in sizes]
    assert [len(tiles) for tiles, _, _ in cut] == [len(valid) for _, valid, _ in cut] == planned
    batch = build_prompt_batch(model, words, [[picture(size) for size in sizes]])
    tokens = sum(map(markup.count_image_tokens, planned))
    assert len(model.embed_images(batch)) == int((batch.tokens == tiny.IMAGE).sum()) == tokens
    assert tokens == TOKENS_PER_TILE * (len(sizes) if options.any_resolution.fixed_sampling else sum(planned))


@pytest.mark.parametrize("size", [(100, 30), (30, 100), (1, 300), (60, 50)])
def test_what_pads_an_image_changes_nothing(size: Size, models: dict[str, ResamplerLMM]) -> None:
    model = models["padded"]
    batch = build_prompt_batch(model, load_tokenizer(model.options), [["a", picture(size), picture((56, 56))]])
    by_cell = batch.tiles.view(2, 3, 4, 14, 4, 14)
    noise = torch.randint(0, 256, by_cell.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    border = ~batch.valid.view(2, 1, 4, 1, 4, 1)
    assert not by_cell[border.expand_as(by_cell)].any()
    assert bool(border[0].any())
    assert not bool(border[1].any())
    changed = replace(batch, tiles=noise.where(border, by_cell).view_as(batch.tiles))
    assert not torch.equal(changed.tiles, batch.tiles)
    assert torch.equal(model(changed), model(batch))


def test_the_sub_images_of_mm1() -> None:
    """1344 x 1344 becomes five images of 672 x 672, in 720 tokens; a picture of that size loses no pixel."""
    options = AnyResolutionOptions(enabled=True, grids=((2, 2),), canvas="squash")
    tiler = ImageTiler(options, 672, 14, CAbstractorOptions().count_tokens_per_tile((672 // 14) ** 2))
    sizes = np.asarray([1344, 300, 4000])
    assert (tiler.count_tiles(sizes, sizes[::-1]) * tiler.tokens_per_tile).tolist() == [720] * 3
    image = picture((112, 112))
    tiles, valid, grid = cut_into_tiles(image, options, 56, 14)
    whole = np.asarray(image).transpose(2, 0, 1)
    corners = [whole[:, top : top + 56, left : left + 56] for top in (0, 56) for left in (0, 56)]
    assert (grid, valid.shape, bool(valid.all())) == ((2, 2), (5, 16), True)
    assert np.array_equal(tiles[1:], np.stack(corners))
    tiles, valid, _ = cut_into_tiles(picture((200, 40)), options, 56, 14)
    assert valid.all()
    assert all(tile.any(0).all() for tile in tiles)  # no border, whatever the aspect


def test_a_language_model_takes_no_image(tmp_path: Path) -> None:
    """Neither in a prompt nor in training data, and no rate for a tower; its connector's options are not looked at."""
    words, _ = tokenizer(tmp_path)
    model = ResamplerLMM.build(
        tiny.options(tmp_path / "tokenizer", vision=None, connector=tiny.connector("c_abstractor"))
    )
    assert not any(name.startswith(("vision.", "connector.")) for name in model.state_dict())
    assert model.tokens_per_tile == 0
    with pytest.raises(UsageError, match=r"^generate: this model has no vision tower and takes no images; pass a text"):
        generate(model, words, ["what ", picture((60, 60))], LIMIT)
    docs = [document(0, ["a text"]), document(1, ["a", (60, 60)])]
    source = write_set(tmp_path / "docs", docs, words)
    said = r"^data\.sources\.docs: .*00000000\.\w+: d000001 has an image, and the model has no vision tower: leave the"
    with pytest.raises(UsageError, match=said):
        plan(tmp_path, {"docs": source}, model={"vision": None}, tile=1)
    with pytest.raises(UsageError, match=r"^optimizer\.lr\.tower: the model has no tower, as model\.vision is null"):
        model.vision.unfreeze()


def test_older_recipes_and_exports_name_none_of_this(tmp_path: Path) -> None:
    """So that a run that began before continues: options that are newer are only stored where they are used."""
    options = tiny.options(tiny.write_tokenizer(tmp_path / "tokenizer"))
    dumped = options.model_dump(mode="json")
    assert dumped["any_resolution"].keys() == {"enabled", "grids", "tile_order"}
    assert dumped["vision"].keys() == {"pretrained", "config"}
    used = tiny.options(tmp_path / "tokenizer", **tiny.MODES["sub_images"])
    assert used.model_dump(mode="json")["any_resolution"]["canvas"] == "squash"
    assert ModelOptions.model_validate(used.model_dump(mode="json")) == used
