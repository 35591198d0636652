"""The cells of an image go through the connector tile by tile or all at once, and no border among them counts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.errors import UsageError
from tests.training.support import tiny
from tests.training.support.tiny import pack, picture
from training.batch import Batch
from training.model.lmm import ResamplerLMM
from training.model.tiling_options import AnyResolutionOptions
from training.model.towers.cell_groups import find_shown_cells, group_cells

FIXED = AnyResolutionOptions(enabled=True, fixed_sampling=True)
GRIDS = torch.tensor([[0, 0], [1, 2], [0, 0]])  # of one tile, of two and a thumbnail, of one
CELLS = torch.arange(5 * 4 * 2, dtype=torch.float32).view(5, 4, 2) + 1


def seeing(tokenizer: Path, fixed_sampling: bool, kind: str = "perceiver") -> ResamplerLMM:
    options = AnyResolutionOptions(enabled=True, fixed_sampling=fixed_sampling).model_dump()
    return ResamplerLMM.build(tiny.options(tokenizer, connector=tiny.connector(kind), any_resolution=options))


def batch_of(*images: Tensor) -> Batch:
    """A batch with these images, each of all its tiles; only its images count."""
    return pack([[["a", *images]]])


def test_images_are_padded_to_the_largest() -> None:
    valid = torch.ones((5, 4), dtype=torch.bool)
    valid[3, 2:] = False
    cells, seen = group_cells(CELLS, valid, GRIDS, FIXED)
    assert seen is not None
    assert cells.shape == (3, 12, 2)
    assert torch.equal(cells[1], CELLS[1:4].flatten(0, 1))
    assert torch.equal(cells[::2, :4], CELLS[[0, 4]])
    assert not cells[::2, 4:].any()
    assert seen.tolist() == [[True] * 4 + [False] * 8, [True] * 10 + [False] * 2, [True] * 4 + [False] * 8]


def test_images_of_one_tile_stay_as_they_are() -> None:
    valid = torch.ones((2, 4), dtype=torch.bool)
    cells, seen = group_cells(CELLS[:2], valid, GRIDS[::2], FIXED)
    assert cells is CELLS[:2] or torch.equal(cells, CELLS[:2])
    assert seen is None


def test_the_tower_sees_the_border_of_a_canvas_alone() -> None:
    valid = torch.ones((5, 4), dtype=torch.bool)
    assert find_shown_cells(valid, GRIDS) is None
    valid[2] = False  # of the canvas
    assert find_shown_cells(valid, GRIDS) is None
    valid[4, 1:] = False  # of an image that is padded to one tile
    shown = find_shown_cells(valid, GRIDS)
    assert shown is not None
    assert shown.tolist() == [[True] * 4] * 4 + [[True] + [False] * 3]
    assert find_shown_cells(valid[:0], GRIDS[:0]) is None


@pytest.mark.parametrize("kind", ["perceiver", "attention_pool", "instruction_aware"])
def test_fixed_sampling_is_per_tile_where_there_is_one(kind: str, tokenizer: Path) -> None:
    batch = batch_of(picture(1), picture(2))
    one, all_at_once = (seeing(tokenizer, fixed, kind) for fixed in (False, True))
    assert torch.equal(one.embed_images(batch), all_at_once.embed_images(batch))


@pytest.mark.parametrize("kind", ["perceiver", "attention_pool"])
def test_fixed_sampling_is_one_call_for_all_tiles(kind: str, tokenizer: Path) -> None:
    """As the connector itself takes the cells of all tiles; other images of the batch change nothing."""
    model, large = seeing(tokenizer, True, kind), picture(1, 3)
    features = model.vision(large).flatten(0, 1)[None]
    expected = model.connector(features, None)[0]
    batch = batch_of(picture(2), large, picture(3, 5))
    batch = replace(batch, grids=torch.tensor([[0, 0], [1, 2], [2, 2]]))
    found = model.embed_images(batch).view(3, tiny.TOKENS_PER_TILE, -1)
    assert (found[1] - expected).abs().max() < 1e-5
    alone = model.embed_images(batch_of(picture(2)))
    assert (found[0] - alone).abs().max() < 1e-5
    per_tile = seeing(tokenizer, False, kind).embed_images(batch_of(large))
    assert len(per_tile) == 3 * tiny.TOKENS_PER_TILE


def test_masked_cells_of_any_tile_are_not_looked_at(tokenizer: Path) -> None:
    model, batch = seeing(tokenizer, True), batch_of(picture(1, 3))
    valid = batch.valid.clone()
    valid[2, 3:] = False
    features = model.vision(batch.tiles).flatten(0, 1)[None, : 2 * 16 + 3]
    expected = model.connector(features, None)[0]
    assert (model.embed_images(replace(batch, valid=valid)) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["linear", "mlp", "average_pool", "c_abstractor", "ldp", "ldpv2", "xdp"])
def test_connectors_of_one_tiles_grid_refuse(kind: str, tokenizer: Path) -> None:
    said = rf"^model\.any_resolution\.fixed_sampling: connector {kind} needs the square grid of one tile: use kind: per"
    with pytest.raises(UsageError, match=said):
        seeing(tokenizer, True, kind)
    seeing(tokenizer, False, kind)
