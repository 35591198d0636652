"""Position embeddings of another resolution are those of transformers, and of this one they are untouched."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.model.towers.positions import interpolate_positions


def table_of(side: int, width: int = 6) -> Tensor:
    return torch.randn(side * side, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("resolution", [224, 448, 560, 672, 896])
def test_the_resolutions_of_mm1(resolution: int) -> None:
    """From the 336 pixels of a ViT-L/14, as transformers' towers do it."""
    table, side = table_of(24), resolution // 14
    maps = table.view(1, 24, 24, 6).permute(0, 3, 1, 2)
    expected = functional.interpolate(maps, size=(side, side), mode="bicubic", align_corners=False)
    found = interpolate_positions(table, side)
    assert found.shape == (side * side, 6)
    assert (found - expected[0].permute(1, 2, 0).flatten(0, 1)).abs().max() < 1e-12


def test_the_same_size_is_the_table_itself() -> None:
    table = table_of(24)
    assert interpolate_positions(table, 24) is table


def test_reference_values() -> None:
    """Of 0 and 1 at a distance of 1.5 cells, with cubic convolution of -0.75 and the border repeated."""
    line = torch.tensor([-25 / 288, 0.5, 313 / 288], dtype=torch.float64)
    expected = 2 * line[:, None] + line[None, :]
    found = interpolate_positions(torch.arange(4, dtype=torch.float64)[:, None], 3)
    assert (found.view(3, 3) - expected).abs().max() < 1e-14


def test_gradients_are_those_of_the_interpolation() -> None:
    table = table_of(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: interpolate_positions(value, 5), table)


def test_half_precision_is_rounded_once() -> None:
    table = table_of(4).bfloat16()
    found = interpolate_positions(table, 6)
    assert found.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(interpolate_positions(table, 6), found)
    exact = interpolate_positions(table.double(), 6)
    assert ((found.double() - exact).abs() <= exact.abs() / 256 + 1e-6).all()
