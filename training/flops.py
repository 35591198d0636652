"""The arithmetic of a step, and how much of the machine's it is.

Counted is what the mathematics needs: 2 operations for each weight of a linear layer that a token meets, the products
of attention for the pairs that see one another (half of a square for text, and only within a sample), and twice as much
again backwards for what learns. What is done twice to save memory is not counted, nor are norms and activations.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.batch import PADDING, Batch
from training.objective import labelled

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

BACKWARD = 3.0  # forwards once, backwards for the weights and for what came in


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations forwards, from the model's shapes; `times` for those of a step."""

    tile_tower: float
    tile_connector: float
    token: float  # in the decoder layers, without attention
    pair: float  # of positions, one of which sees the other
    label: float  # of a position whose logits are needed
    tower_times: float
    language_times: float

    def of(self, batches: list[Batch]) -> float:
        """Operations of a step with these micro-batches."""
        return sum(
            self.tower_times * self.tile_tower * len(batch.tiles)
            + BACKWARD * self.tile_connector * len(batch.tiles)
            + self.language_times * (self.token * tokens(batch) + self.pair * pairs(batch))
            + self.language_times * self.label * int(labelled(batch).sum())
            for batch in batches
        )


def flops_of(model: "ResamplerLMM") -> Flops:
    """From a model that is whole: before it is sharded. The shapes are enough."""
    tower, language = model.vision, model.language
    config = tower.model.config
    cells = tower.cells
    embedding = sum(p.numel() for n, p in tower.model.embeddings.named_parameters() if n.startswith("patch"))
    tile_tower = 2.0 * cells * (_weights(tower.model.encoder) + embedding)
    tile_tower += 4.0 * cells * cells * config.hidden_size * config.num_hidden_layers
    text = language.lm.config
    heads = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    frozen = not any(parameter.requires_grad for parameter in language.parameters())
    return Flops(
        tile_tower=tile_tower,
        tile_connector=model.connector.flops_per_tile(cells),
        token=2.0 * _weights(language.layers),
        pair=4.0 * heads * text.num_hidden_layers,
        label=2.0 * language.width * language.vocabulary,
        tower_times=1.0 if tower.frozen else BACKWARD,
        language_times=2.0 if frozen else BACKWARD,  # gradients go through it to the connector all the same
    )


def tokens(batch: Batch) -> int:
    """Positions that hold something."""
    return int((batch.segments != PADDING).sum())


def pairs(batch: Batch) -> float:
    """Pairs of positions one of which sees the other: each itself, and what is before it in its sample."""
    total = 0.0
    for row in batch.segments:
        sizes = torch.bincount(row[row != PADDING]).double()
        total += float((sizes * (sizes + 1) / 2).sum())
    return total


def non_embedding(model: "ResamplerLMM") -> int:
    """The language model's parameters without its tables: the N of MM1's law."""
    language = model.language
    tables = ("embed_tokens.", "lm_head.", "added_embeddings.", "added_head.", "head_bias")
    return sum(p.numel() for n, p in language.named_parameters() if not any(table in n for table in tables))


def measured_peak(device: torch.device, precision: str, seconds: float = 0.3) -> float:
    """Operations a second that a large product of matrices reaches here, in the precision that is trained in."""
    on_gpu = device.type == "cuda"
    side = 8192 if on_gpu else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.full((side, side), 0.5, device=device, dtype=dtype) for _ in range(2))
    best, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until or not best:
        _wait(device)
        started = time.perf_counter()
        for _ in range(10 if on_gpu else 1):
            _product(left, right)
        _wait(device)
        best = max(best, (10 if on_gpu else 1) * 2.0 * side**3 / (time.perf_counter() - started))
    return best


def _product(left: Tensor, right: Tensor) -> Tensor:
    return left @ right


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _weights(module: nn.Module) -> int:
    """Of all linear layers in it."""
    return sum(inner.weight.numel() for inner in module.modules() if isinstance(inner, nn.Linear))
