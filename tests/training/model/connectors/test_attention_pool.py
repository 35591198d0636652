"""Attention pooling against its equations."""

import torch
from torch import Tensor

from tests.training.support import connectors, equations

HEADS, HEAD_DIM = 2, 4


def by_the_equations(state: dict[str, Tensor], cells: Tensor) -> Tensor:
    """One tile's valid cells [N, width]."""
    x = equations.normed(cells, state, "norm", 1e-5)
    to_q = state["to_q.weight"].reshape(HEADS, HEAD_DIM, -1)
    to_k, to_v = state["to_kv.weight"].reshape(2, HEADS, HEAD_DIM, -1)
    q = torch.einsum("lw,hdw->hld", state["queries"], to_q) * HEAD_DIM**-0.5
    scores = torch.einsum("hld,nw,hdw->hln", q, x, to_k).exp()
    weights = scores / scores.sum(-1, keepdim=True)
    out = state["projection.weight"].reshape(-1, HEADS, HEAD_DIM)
    return torch.einsum("hln,nw,hdw,ohd->lo", weights, x, to_v, out) + state["projection.bias"]


def test_it_is_its_equations() -> None:
    connector, cells, valid = connectors.made("attention_pool"), connectors.features(), connectors.masks()
    state = connector.state_dict()
    expected = torch.stack([by_the_equations(state, one[seen]) for one, seen in zip(cells, valid, strict=True)])
    assert (connector(cells, valid) - expected).abs().max() < 1e-10
    assert expected.std() > 0.3


def test_any_number_of_cells() -> None:
    connector = connectors.made("attention_pool")
    assert connector(connectors.features(2, 7), None).shape == (2, 3, connectors.OUT)
