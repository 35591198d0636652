"""The resampler against its equations, written out once more without anything of torch.nn."""

from math import erf

import pytest
import torch
from torch import Tensor

from training.model.connectors.perceiver import PerceiverOptions
from training.model.connectors.perceiver_resampler import PerceiverResampler

WIDTH, OUT = 20, 14
OPTIONS = PerceiverOptions(depth=3, heads=4, head_dim=6, latents=5, ff_mult=4)

KEYS_OF_A_LAYER = [
    *("0.norm_media.weight", "0.norm_media.bias", "0.norm_latents.weight", "0.norm_latents.bias"),
    *("0.to_q.weight", "0.to_kv.weight", "0.to_out.weight"),
    *("1.0.weight", "1.0.bias", "1.1.weight", "1.3.weight"),
]


@pytest.fixture
def resampler() -> PerceiverResampler:
    """In float64, every parameter away from its special initial value."""
    torch.manual_seed(0)
    made = OPTIONS.build(1, WIDTH, OUT).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return made


def media(tiles: int = 3, cells: int = 11) -> Tensor:
    return torch.randn(tiles, cells, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def mask(tiles: int = 3, cells: int = 11) -> Tensor:
    return torch.rand(tiles, cells, generator=torch.Generator().manual_seed(2)) > 0.4


def by_the_equations(state: dict[str, Tensor], media: Tensor, valid: Tensor) -> Tensor:
    """One tile [N, width]: the resampler's equations (Flamingo, arXiv 2204.14198), as sums over named indices."""

    def normed(x: Tensor, name: str) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) / (variance + 1e-5) ** 0.5 * state[f"{name}.weight"] + state[f"{name}.bias"]

    latents = state["latents"]
    for layer in range(OPTIONS.depth):
        name = f"layers.{layer}"
        x, y = normed(media, f"{name}.0.norm_media"), normed(latents, f"{name}.0.norm_latents")
        # weights are [out, in]; out is heads x head_dim, for keys and values 2 x heads x head_dim
        to_q = state[f"{name}.0.to_q.weight"].reshape(OPTIONS.heads, OPTIONS.head_dim, WIDTH)
        to_k, to_v = state[f"{name}.0.to_kv.weight"].reshape(2, OPTIONS.heads, OPTIONS.head_dim, WIDTH)
        to_out = state[f"{name}.0.to_out.weight"].reshape(WIDTH, OPTIONS.heads, OPTIONS.head_dim)
        seen = torch.cat((x[valid], y))
        q = torch.einsum("lw,hdw->hld", y, to_q) * OPTIONS.head_dim**-0.5
        scores = torch.einsum("hld,nw,hdw->hln", q, seen, to_k)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        latents = torch.einsum("hln,nw,hdw,vhd->lv", weights, seen, to_v, to_out) + latents
        z = torch.einsum("lw,iw->li", normed(latents, f"{name}.1.0"), state[f"{name}.1.1.weight"])
        cumulated = [0.5 + 0.5 * erf(value / 2**0.5) for value in z.flatten().tolist()]
        gelu = z * torch.tensor(cumulated, dtype=torch.float64).view_as(z)
        latents = torch.einsum("li,wi->lw", gelu, state[f"{name}.1.3.weight"]) + latents
    projection, bias = state["projection.weight"], state["projection.bias"]
    return torch.einsum("lw,ow->lo", normed(latents, "norm"), projection) + bias


def test_it_is_its_equations(resampler: PerceiverResampler) -> None:
    state = resampler.state_dict()
    expected = torch.stack([by_the_equations(state, *one) for one in zip(media(), mask(), strict=True)])
    made = resampler(media(), mask())
    assert made.shape == (3, OPTIONS.latents, OUT)
    assert expected.std() > 0.3
    assert (made - expected).abs().max() < 1e-10


def test_masked_is_dropped(resampler: PerceiverResampler) -> None:
    for one, valid, made in zip(media(), mask(), resampler(media(), mask()), strict=True):
        alone = resampler(one[valid][None], None)[0]
        assert (made - alone).abs().max() < 1e-12


def test_no_mask_is_a_full_one(resampler: PerceiverResampler) -> None:
    full = torch.ones(3, 11, dtype=torch.bool)
    assert (resampler(media(), None) - resampler(media(), full)).abs().max() < 1e-12


def test_the_order_of_cells_does_not_matter(resampler: PerceiverResampler) -> None:
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    shuffled = resampler(media()[:, order], mask()[:, order])
    assert (shuffled - resampler(media(), mask())).abs().max() < 1e-12


def test_a_tile_with_nothing_to_see(resampler: PerceiverResampler) -> None:
    made = resampler(media(), torch.zeros(3, 11, dtype=torch.bool))
    made.sum().backward()
    assert made.isfinite().all()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in resampler.parameters())
    assert (made - resampler(media(3, 0), None)).abs().max() < 1e-12


def test_no_tiles_still_make_a_graph(resampler: PerceiverResampler) -> None:
    made = resampler(media(0), mask(0))
    assert made.shape == (0, OPTIONS.latents, OUT)
    made.sum().backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in resampler.parameters())


def test_gradients_reach_everything(resampler: PerceiverResampler) -> None:
    seen = media().requires_grad_()
    resampler(seen, mask()).square().sum().backward()
    for name, parameter in resampler.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert seen.grad is not None
    assert torch.equal(seen.grad.abs().sum(-1) > 0, mask())  # and of the cells those that are looked at


def test_bf16_tower_and_fp32_resampler() -> None:
    resampler = OPTIONS.build(1, WIDTH, OUT)
    assert resampler(media().bfloat16(), mask()).dtype == torch.float32
    assert resampler.bfloat16()(media().float(), mask()).dtype == torch.bfloat16


@pytest.mark.parametrize(("latents", "parameters"), [(128, 109_901_568), (64, 109_827_840)])
def test_parameter_counts_of_xgen_mm(latents: int, parameters: int) -> None:
    with torch.device("meta"):
        resampler = PerceiverOptions(latents=latents).build(1, 1152, 3072)
    assert sum(parameter.numel() for parameter in resampler.parameters()) == parameters
    assert sum(parameter.numel() for parameter in resampler.layers[0].parameters()) == 17_701_632


def test_keys_are_those_of_the_released_weights(resampler: PerceiverResampler) -> None:
    layers = [f"layers.{layer}.{key}" for layer in range(OPTIONS.depth) for key in KEYS_OF_A_LAYER]
    assert list(resampler.state_dict()) == [
        *("latents", *layers),
        *("norm.weight", "norm.bias", "projection.weight", "projection.bias"),
    ]


def test_made_alike_from_the_same_seed() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(OPTIONS.build(1, WIDTH, OUT).state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert not torch.equal(made[0]["latents"], made[2]["latents"])


def test_latents_are_standard_normal() -> None:
    torch.manual_seed(0)
    latents = PerceiverOptions(depth=1, heads=1, head_dim=8).build(1, 1152, 8).latents
    assert latents.shape == (128, 1152)
    assert latents.mean().abs() < 0.01  # 2.6 standard errors of 147,456 draws
    assert (latents.std() - 1).abs() < 0.01


def test_a_layer_can_be_checkpointed(resampler: PerceiverResampler) -> None:
    from torch.utils.checkpoint import checkpoint

    layer, latents = resampler.layers[0], resampler.latents.expand(3, -1, -1)
    kept = layer(media(), latents, mask())
    again = checkpoint(layer, media(), latents, mask(), use_reentrant=False)
    assert torch.equal(kept, again)
