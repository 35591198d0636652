"""What holds for a connector of any kind: counts, gradients, masks, and what it tells the planner."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from schemas.errors import UsageError
from tests.training.support import connectors
from tests.training.support.connectors import CELLS, OPTIONS, OUT, TOKENS, WIDTH
from training.model.connectors.cell_pooling import pool_cells
from training.model.connectors.registry import CONNECTORS

KINDS = sorted(CONNECTORS)
WITH_LATENTS = {"perceiver"}
"""Kinds whose tokens see one another, so that a tile without a valid cell still has values, as in released weights."""

PARAMETERS = [
    ("c_abstractor", {}, (729, 1152, 3072), 30_635_680),
    ("c_abstractor", {}, (576, 1024, 4096), 37_398_016),
    ("xdp", {}, (576, 1024, 2048), 12_587_008),
    ("xdp", {"pool_side": 24}, (729, 1152, 3072), 23_599_104),
    ("ldp", {}, (576, 1024, 2048), 18_936_832),
    ("ldpv2", {}, (576, 1024, 2048), 6_316_032),
    ("mlp", {}, (576, 1024, 2048), 6_295_552),
    ("linear", {}, (576, 1024, 2048), 2_099_200),
    ("average_pool", {}, (576, 1024, 2048), 2_099_200),
    ("attention_pool", {}, (576, 1024, 2048), 144 * 1024 + 2 * 1024 + 3 * 1024**2 + 1024 * 2048 + 2048),
]


def test_every_kind_is_here() -> None:
    assert OPTIONS.keys() == TOKENS.keys() == CONNECTORS.keys()


@pytest.mark.parametrize(("kind", "options", "sizes", "parameters"), PARAMETERS)
def test_parameter_counts(kind: str, options: dict[str, Any], sizes: tuple[int, int, int], parameters: int) -> None:
    with torch.device("meta"):
        connector = CONNECTORS[kind](**options).build(*sizes)
    assert sum(parameter.numel() for parameter in connector.parameters()) == parameters


@pytest.mark.parametrize("kind", KINDS)
def test_planned_tokens_are_made(kind: str) -> None:
    planned = CONNECTORS[kind](**OPTIONS[kind]).count_tokens_per_tile(CELLS)
    assert planned == TOKENS[kind]
    for valid in (None, connectors.masks()):
        assert connectors.made(kind)(connectors.features(), valid).shape == (3, planned, OUT)


@given(kind=st.sampled_from(KINDS), side=st.integers(1, 6), size=st.integers(1, 7), square=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_size_is_planned_as_made_or_refused(kind: str, side: int, size: int, square: bool) -> None:
    """`size` is the pool, the factor or the number of queries; the grid has a cell more if it is not to be square."""
    cells = side * side + (not square)
    named = {"linear": "pool_side", "mlp": "pool_side", "xdp": "factor", "attention_pool": "queries"}
    named |= dict.fromkeys(("perceiver", "instruction_aware"), "latents")
    named |= dict.fromkeys(("average_pool", "c_abstractor", "ldpv2"), "side")
    chosen = CONNECTORS[kind](**OPTIONS[kind] | ({named[kind]: size} if kind in named else {}))
    planned, refusal = 0, ""
    try:
        planned = chosen.count_tokens_per_tile(cells)
    except UsageError as error:
        refusal = str(error)
    if refusal:
        assert "\n" not in refusal
        with pytest.raises(UsageError, match=f"^{re.escape(refusal)}$"):
            chosen.build(cells, 4, 4)
        return
    connector = chosen.build(cells, 4, 4)
    assert connector(torch.zeros(2, cells, 4), torch.ones(2, cells, dtype=torch.bool)).shape == (2, planned, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_differences(kind: str) -> None:
    """With respect to the features and every parameter, with a mask."""
    connector, valid = (
        connectors.made(kind, small(kind), cells=4, width=4, out_width=4),
        torch.tensor([[True, True, True, False]] * 2),
    )
    words = connectors.words(kind, 2, 4)
    names, held = zip(*connector.named_parameters(), strict=True)

    def run(features: Tensor, *parameters: Tensor) -> Tensor:
        values = dict(zip(names, parameters, strict=True))
        made: Tensor = torch.func.functional_call(connector, values, (features, valid, *words))
        return made

    inputs = [connectors.features(2, 4, 4), *(parameter.detach().clone() for parameter in held)]
    assert torch.autograd.gradcheck(run, [one.requires_grad_() for one in inputs], eps=1e-6, atol=1e-5, rtol=1e-4)


def small(kind: str) -> dict[str, Any]:
    """Options for a tile of 2 x 2 cells of width 4."""
    changes: dict[str, Any] = {
        "perceiver": {"latents": 2, "head_dim": 2, "heads": 1, "ff_mult": 1},
        "mlp": {"pool_side": 1},
        "average_pool": {"side": 1},
        "instruction_aware": {"latents": 2, "head_dim": 2, "heads": 1, "ff_mult": 1},
        "attention_pool": {"queries": 2, "heads": 1},
        "c_abstractor": {"side": 1, "hidden": 4},
        "ldpv2": {"side": 1},
        "xdp": {"factor": 2},
    }
    return {"kind": kind} | OPTIONS[kind] | changes.get(kind, {})


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_everything(kind: str) -> None:
    connector, cells, valid = connectors.made(kind), connectors.features().requires_grad_(), connectors.masks()
    connector(cells, valid, *connectors.words(kind)).square().sum().backward()
    for name, parameter in connector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert cells.grad is not None
    assert torch.equal(cells.grad.abs().sum(-1) > 0, valid)  # and of the cells those that are valid


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tiles", [0, 2])
def test_every_parameter_has_a_gradient_without_a_picture(kind: str, tiles: int) -> None:
    connector = connectors.made(kind)
    made = connector(connectors.features(tiles), torch.zeros(tiles, CELLS, dtype=torch.bool))
    assert made.shape == (tiles, TOKENS[kind], OUT)
    made.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in connector.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_masked_cells_change_nothing(kind: str) -> None:
    connector, cells, valid = connectors.made(kind), connectors.features(), connectors.masks()
    made = connector(cells, valid)
    changed = cells.masked_fill(~valid[..., None], 100)
    assert (connector(changed, valid) - made).abs().max() < 1e-12
    assert not torch.allclose(connector(cells, None)[:2], made[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_no_mask_is_a_full_one(kind: str) -> None:
    connector, cells = connectors.made(kind), connectors.features()
    full = torch.ones(3, CELLS, dtype=torch.bool)
    assert (connector(cells, None) - connector(cells, full)).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_without_a_valid_cell_gives_zeros(kind: str) -> None:
    valid = connectors.masks()
    valid[1] = False
    made = connectors.made(kind)(connectors.features(), valid)
    assert made.isfinite().all()
    assert made.any(dim=2).any(dim=1).tolist() == [True, kind in WITH_LATENTS, True]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tile_is_the_same_alone(kind: str) -> None:
    connector, cells, valid = connectors.made(kind), connectors.features(), connectors.masks()
    words = connectors.words(kind)
    together = connector(cells, valid, *words)
    for number in range(3):
        alone = connector(*(one[number : number + 1] for one in (cells, valid, *words)))
        assert (alone[0] - together[number]).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_precision_is_the_connectors(kind: str) -> None:
    connector = CONNECTORS[kind](**OPTIONS[kind]).build(CELLS, WIDTH, OUT)
    assert connector(connectors.features().bfloat16(), connectors.masks()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert connector(connectors.features().float(), connectors.masks()).isfinite().all()
    assert connector.bfloat16()(connectors.features().float(), connectors.masks()).dtype == torch.bfloat16


MEDIUM: dict[str, dict[str, Any]] = {
    "perceiver": {"latents": 16, "head_dim": 16},
    "instruction_aware": {"latents": 16, "head_dim": 16, "max_instruction": 8},
    "attention_pool": {"queries": 36, "heads": 4, "head_dim": 16},
    "average_pool": {"side": 6},
    "ldpv2": {"side": 6},
    "c_abstractor": {"side": 6, "hidden": 64},
}
"""Options for a tile of 12 x 12 cells of width 64, at which activations outweigh the weights."""


@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_that_torch_counts(kind: str) -> None:
    """Of eight tiles; torch counts the sums of means too, and the queries' layer, which runs once for all tiles."""
    connector = CONNECTORS[kind](**MEDIUM.get(kind, {})).build(144, 64, 64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # of others it counts no attention
        connector(torch.zeros(8, 144, 64), None)
    means = 2 * 64 * (6 * 144 + 6 * 6 * 12) if kind in ("average_pool", "ldpv2", "c_abstractor") else 0
    queries = 2 * 36 * 64 * 64 / 8 if kind == "attention_pool" else 0
    expected = counter.get_total_flops() / 8 - means - queries
    assert connector.count_flops_per_tile(144) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_those_that_autograd_keeps(kind: str) -> None:
    """Within a third."""
    connector = CONNECTORS[kind](**MEDIUM.get(kind, {})).build(144, 64, 64)
    weights = {parameter.untyped_storage().data_ptr() for parameter in connector.parameters()}
    kept: dict[int, int] = {}
    held_on: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if (at := tensor.untyped_storage().data_ptr()) not in weights:
            kept[at] = max(kept.get(at, 0), tensor.untyped_storage().nbytes())
        held_on.append(tensor)  # or its memory would be another's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        connector(
            torch.randn(8, 144, 64), None, *([torch.randn(8, 8, 64)] if kind == "instruction_aware" else [])
        ).sum()
    ratio = sum(kept.values()) / 4 / 8 / connector.count_activations_per_tile(144, False)
    assert 0.66 < ratio < 1.5, ratio


KEPT = {
    "c_abstractor": (144 * (32 + 9 * 64) + 2 * 144 * 640 + 3 * 36 * 640, 144 * 640, 4608 + 2 * 144 * 64 + 3 * 36 * 64,
                     36 * (64 + 2 * 48)),
    "ldp": (144 * 6 * 48 + 36 * 6 * 48, 144 * 6 * 48, 2 * 144 * 48, 144 * (32 + 2 * 48)),
}  # fmt: skip
"""Numbers that all blocks keep, that the largest keeps, the inputs of the blocks, and what is outside of them."""


@pytest.mark.parametrize("kind", KEPT)
def test_activations_of_blocks(kind: str) -> None:
    """Of 144 cells of width 32, to 48; a C-Abstractor's blocks count their inputs as kept, an LDP's do not."""
    blocks, largest, inputs, outside = KEPT[kind]
    connector = CONNECTORS[kind](**MEDIUM.get(kind, {})).build(144, 32, 48)
    whole = blocks + outside + (inputs if kind == "ldp" else 0)
    assert connector.count_activations_per_tile(144, False) == whole
    assert connector.count_activations_per_tile(144, True) == largest + inputs + outside


@pytest.mark.parametrize("kind", ["perceiver", "c_abstractor", "ldp", "instruction_aware"])
def test_recomputed_layers_keep_less_and_change_nothing(kind: str) -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    plain, wrapped = connectors.made(kind), connectors.made(kind)
    for at, layer in enumerate(wrapped.layers):
        wrapped.layers[at] = checkpoint_wrapper(layer)
    assert len(plain.layers) > 0
    for connector in (plain, wrapped):
        connector(connectors.features(), connectors.masks()).square().sum().backward()
    assert wrapped.state_dict().keys() == plain.state_dict().keys()
    for one, other in zip(plain.parameters(), wrapped.parameters(), strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    assert wrapped.count_activations_per_tile(CELLS, True) == plain.count_activations_per_tile(CELLS, True)
    assert wrapped.count_flops_per_tile(CELLS) == plain.count_flops_per_tile(CELLS)


@pytest.mark.parametrize("kind", KINDS)
def test_made_alike_from_the_same_seed(kind: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(CONNECTORS[kind](**OPTIONS[kind]).build(CELLS, WIDTH, OUT).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_decay_names_parameters(kind: str) -> None:
    connector = connectors.made(kind)
    assert connector.no_weight_decay <= dict(connector.named_parameters()).keys()


@pytest.mark.parametrize(("size", "side"), [(27, 12), (24, 12), (5, 5), (4, 1)])
def test_pools_are_those_of_torch(size: int, side: int) -> None:
    grid = torch.randn(2, size * size, 3, dtype=torch.float64)
    maps = grid.unflatten(1, (size, size)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2)
    assert (pool_cells(grid, None, side)[0] - expected).abs().max() < 1e-12
    with torch.autocast("cpu", torch.bfloat16):
        assert (pool_cells(grid.float(), None, side)[0] - expected).abs().max() < 1e-5


def test_an_unknown_kind_is_refused(tokenizer: Path) -> None:
    from pydantic import ValidationError

    from tests.training.support import tiny

    said = "there is no kind 'qformer': use perceiver, linear, mlp, average_pool, attention_pool, c_abstractor, ldp,"
    with pytest.raises(ValidationError, match=said):
        tiny.options(tokenizer, connector={"kind": "qformer"})
