"""A position sees itself and what is before it in its own sample; padding is seen by nothing but itself."""

import pytest
import torch
from transformers import Phi3Config
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from training.model.attention import build_packed_mask

SEGMENTS = torch.tensor([[0, 0, 1, 1, 1, -1], [-1, -1, 0, 0, 0, 0]])


def rows(mask: torch.Tensor) -> list[list[str]]:
    return [["".join("x" if seen else "." for seen in line) for line in sequence[0].tolist()] for sequence in mask]


def test_segments() -> None:
    mask = build_packed_mask(SEGMENTS, "sdpa", torch.float32)
    assert mask.dtype == torch.bool
    assert rows(mask) == [
        ["x.....", "xx....", "..x...", "..xx..", "..xxx.", ".....x"],
        ["x.....", ".x....", "..x...", "..xx..", "..xxx.", "..xxxx"],
    ]


def test_window() -> None:
    mask = build_packed_mask(SEGMENTS, "sdpa", torch.float32, window=2)
    assert rows(mask)[0] == ["x.....", "xx....", "..x...", "..xx..", "...xx.", ".....x"]
    assert rows(mask)[1][-2:] == ["...xx.", "....xx"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_eager_adds_what_sdpa_masks(dtype: torch.dtype) -> None:
    mask = build_packed_mask(SEGMENTS, "eager", dtype)
    assert mask.dtype == dtype
    assert torch.equal(mask == 0, build_packed_mask(SEGMENTS, "sdpa", dtype))
    assert mask.min() == torch.finfo(dtype).min


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_without_packing_it_is_that_of_transformers(implementation: str, window: int | None) -> None:
    config = Phi3Config(pad_token_id=None, sliding_window=window)
    config._attn_implementation = implementation
    theirs = (create_causal_mask if window is None else create_sliding_window_causal_mask)(
        config, torch.zeros(1, 7, 8), None, None, torch.arange(7)[None], allow_is_causal_skip=False
    )
    ours = build_packed_mask(torch.zeros(1, 7, dtype=torch.long), implementation, torch.float32, window)  # type: ignore[arg-type]
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("window", [None, 2])
def test_flex_is_the_same(window: int | None) -> None:
    block_mask = build_packed_mask(SEGMENTS, "flex_attention", torch.float32, window)
    assert len(block_mask.shape) == 4  # so that transformers passes it on
    row, query, key = (torch.arange(size) for size in (2, 6, 6))
    dense = block_mask.mask_mod(row[:, None, None], torch.tensor(0), query[:, None], key)
    assert torch.equal(dense[:, None], build_packed_mask(SEGMENTS, "sdpa", torch.float32, window))
