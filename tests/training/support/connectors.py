"""Connectors small enough for a test, made in float64 with no parameter at its special initial value."""

from typing import Any

import torch
from torch import Tensor

from training.model.connector import Connector
from training.model.connectors.registry import CONNECTORS

SIDE, WIDTH, OUT = 4, 8, 6
CELLS = SIDE * SIDE

OPTIONS: dict[str, dict[str, Any]] = {
    "perceiver": {"depth": 1, "heads": 2, "head_dim": 4, "latents": 3},
    "linear": {},
    "mlp": {"pool_side": 3},
    "average_pool": {"side": 3},
    "attention_pool": {"queries": 3, "heads": 2, "head_dim": 4},
    "c_abstractor": {"side": 3, "depth": 1, "hidden": 8},
    "ldp": {},
    "ldpv2": {"side": 3},
    "xdp": {"factor": 4},
    "instruction_aware": {"depth": 1, "heads": 2, "head_dim": 4, "latents": 3},
}
"""Options by kind; pools of 3 of 4 cells a side have windows that overlap."""

TOKENS = {"perceiver": 3, "linear": 16, "mlp": 9, "average_pool": 9, "attention_pool": 3, "c_abstractor": 9}
TOKENS |= {"ldp": 4, "ldpv2": 9, "xdp": 4, "instruction_aware": 3}


def made(
    kind: str,
    options: dict[str, Any] | None = None,
    *,
    cells: int = CELLS,
    width: int = WIDTH,
    out_width: int = OUT,
) -> Connector:
    """The connector of this kind; `options` in place of the tiny ones."""
    torch.manual_seed(0)
    chosen = CONNECTORS[kind].model_validate(OPTIONS[kind] if options is None else options)
    connector = chosen.build(cells, width, out_width).double()
    with torch.no_grad():
        for parameter in connector.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return connector


def features(tiles: int = 3, cells: int = CELLS, width: int = WIDTH) -> Tensor:
    return torch.randn(tiles, cells, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def masks(cells: int = CELLS) -> Tensor:
    """Of three tiles: scattered cells, the upper left cell alone, and all of them."""
    scattered = torch.rand(cells, generator=torch.Generator().manual_seed(2)) > 0.5
    first = torch.arange(cells) == 0
    return torch.stack((scattered, first, torch.ones(cells, dtype=torch.bool)))


def words(kind: str, tiles: int = 3, out_width: int = OUT) -> tuple[Tensor, ...]:
    """Instructions of two words, of which a tile's first alone counts for one, and their mask; for other kinds none."""
    if kind != "instruction_aware":
        return ()
    made = torch.randn(tiles, 2, out_width, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    present = torch.ones(tiles, 2, dtype=torch.bool)
    present[:1, 1] = False
    return made, present
