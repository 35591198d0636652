"""Counts the floating-point operations of a step, and measures the peak rate of a device.

The count has what the mathematics needs: 2 operations for each weight of a linear layer that a token passes through,
the products of attention for the pairs that see one another (half of a square for text, and only within a sample), and
twice as much again in the backward pass for what is trained. It leaves out recomputation that saves memory, norms and
activation functions.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.batch import PADDING, Batch
from training.objective import make_label_mask

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

FORWARD_BACKWARD_FACTOR = 3.0  # one forward pass, and backward passes for the weights and for the inputs


@dataclass(frozen=True, slots=True)
class FlopCounter:
    """Holds the operations of a forward pass, from the model's shapes; the `..._times` factors give those of a step."""

    tower_per_tile: float
    connector_per_tile: float
    connector_per_image: float  # what does not grow with an image's tiles, where the connector takes them all at once
    per_token: float  # per position, in the decoder layers, without attention
    per_pair: float  # per pair of positions, one of which sees the other
    per_label: float  # per position whose logits are computed
    tower_factor: float
    language_factor: float

    def count(self, batches: list[Batch]) -> float:
        """Counts the operations of a step with these micro-batches."""
        return sum(
            self.tower_factor * self.tower_per_tile * len(batch.tiles)
            + FORWARD_BACKWARD_FACTOR * self.connector_per_tile * len(batch.tiles)
            + FORWARD_BACKWARD_FACTOR * self.connector_per_image * len(batch.grids)
            + self.language_factor
            * (self.per_token * count_tokens(batch) + self.per_pair * count_attention_pairs(batch))
            + self.language_factor * self.per_label * int(make_label_mask(batch).sum())
            for batch in batches
        )


def build_flop_counter(model: "ResamplerLMM") -> FlopCounter:
    """Counts the operations of a model that is not sharded yet; one on `meta` will do, as only shapes are needed."""
    tower, language = model.vision, model.language
    linear = sum(map(_count_linear_weights, tower.layers))
    tile_tower = 2.0 * (tower.positions * linear + tower.cells * tower.patch_weights)
    tile_tower += 4.0 * tower.positions * tower.positions * tower.width * len(tower.layers)
    connector = model.connector.count_flops_per_tile(tower.cells)
    per_image = 0.0
    if model.options.any_resolution.fixed_sampling:  # linear in the cells, for what takes any number of them
        per_image = 2 * connector - model.connector.count_flops_per_tile(2 * tower.cells)
    text = language.lm.config
    heads = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    frozen = not any(parameter.requires_grad for parameter in language.parameters())
    return FlopCounter(
        tower_per_tile=tile_tower,
        connector_per_tile=connector - per_image,
        connector_per_image=per_image,
        per_token=2.0 * _count_linear_weights(language.layers),
        per_pair=4.0 * heads * text.num_hidden_layers,
        per_label=2.0 * language.width * language.vocabulary_size,
        tower_factor=1.0 if tower.frozen else FORWARD_BACKWARD_FACTOR,
        language_factor=2.0
        if frozen
        else FORWARD_BACKWARD_FACTOR,  # a frozen one still passes gradients back to the connector
    )


def count_tokens(batch: Batch) -> int:
    """Counts the positions that are not padding."""
    return int((batch.segments != PADDING).sum())


def count_attention_pairs(batch: Batch) -> float:
    """Counts the pairs of positions that attend: each position sees itself and those before it in its sample."""
    total = 0.0
    for row in batch.segments:
        sizes = torch.bincount(row[row != PADDING]).double()
        total += float((sizes * (sizes + 1) / 2).sum())
    return total


def count_non_embedding_parameters(model: "ResamplerLMM") -> int:
    """Counts the language model's parameters without its embedding and head tables: the N of MM1's rule."""
    language = model.language
    tables = ("embed_tokens.", "lm_head.", "added_embeddings.", "added_head.", "head_bias")
    return sum(p.numel() for n, p in language.named_parameters() if not any(table in n for table in tables))


def measure_peak_flops(device: torch.device, precision: str, seconds: float = 0.3) -> float:
    """Measures the operations per second of a large matrix product on `device`, in the precision of the training."""
    on_gpu = device.type == "cuda"
    side = 8192 if on_gpu else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.full((side, side), 0.5, device=device, dtype=dtype) for _ in range(2))
    best, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until or not best:
        _synchronize(device)
        started = time.perf_counter()
        for _ in range(10 if on_gpu else 1):
            _multiply(left, right)
        _synchronize(device)
        best = max(best, (10 if on_gpu else 1) * 2.0 * side**3 / (time.perf_counter() - started))
    return best


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    return left @ right


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _count_linear_weights(module: nn.Module) -> int:
    """Counts the weights of all linear layers in the module."""
    return sum(inner.weight.numel() for inner in module.modules() if isinstance(inner, nn.Linear))
