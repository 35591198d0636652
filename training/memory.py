"""Estimates the memory that a run needs on each device, by part of the model, before the run starts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from training.objective import ROWS
from training.optimiser import PREFIXES
from training.recipe import TrainRecipe

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

FP32, BF16 = 4, 2
MOMENTS = 2  # numbers that Adam keeps for each weight
TITLES = {"tower": "vision tower", "connector": "connector", "language": "language model"}

_LAYER = {"fp32": (54, 16), "bf16": (46, 12), "bf16 fsdp": (31, 8)}
"""Bytes that a decoder layer keeps per position for the backward pass, as multiples of its width and its inner width.
Measured with saved-tensor hooks on Phi-3's layers; bf16 by autocast keeps the values between the products in fp32."""


@dataclass(frozen=True, slots=True)
class PartMemory:
    """Holds the memory of one part of the model, in bytes per device."""

    name: str
    parameters: int  # number of them, frozen ones included
    trainable: int
    weights: int
    gradients: int
    moments: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Holds the memory of a whole run, in bytes per device."""

    parts: list[PartMemory]
    activations: int  # estimated, at their peak
    gathered: int  # of a sharded model: weights that are gathered for use at the same time

    @property
    def total(self) -> int:
        """Returns the sum; CUDA and its libraries take one or two GB more."""
        return sum(p.weights + p.gradients + p.moments for p in self.parts) + self.activations + self.gathered


def memory_of(model: "ResamplerLMM", recipe: TrainRecipe, ranks: int, kind: str) -> Memory:
    """Estimates the memory of a model that `freeze` has prepared; only its shapes count.

    `kind` is none, ddp or fsdp.
    """
    parts = []
    for prefix, group in PREFIXES.items():
        module = model.get_submodule(prefix)
        total = sum(p.numel() for p in module.parameters())
        learning = sum(p.numel() for p in module.parameters() if p.requires_grad)
        by = ranks if kind == "fsdp" else 1
        frozen_tower = prefix == "vision" and not learning
        frozen = (total - learning) * (BF16 if frozen_tower and recipe.precision == "bf16" else FP32)
        weights = learning * FP32 // by + (frozen if frozen_tower else frozen // by)
        several = recipe.sequences > recipe.micro * ranks  # gradients of several micro-batches add up unsharded
        gradients = learning * FP32 // (1 if several else by)
        moments = learning * FP32 * MOMENTS // by
        parts.append(PartMemory(TITLES[group], total, learning, weights, gradients, moments))
    return Memory(parts, _activations(model, recipe, kind), _gathered(model, recipe) if kind == "fsdp" else 0)


def _activations(model: "ResamplerLMM", recipe: TrainRecipe, kind: str) -> int:
    """Estimates the activations at their peak, the end of the forward pass.

    With recomputation these are one layer's, and the input of each layer.
    """
    size = BF16 if recipe.precision == "bf16" else FP32
    positions = recipe.micro * recipe.data.sequence_length
    tiles = recipe.micro * recipe.data.tiles_per_sequence
    of_width, of_inner = _LAYER[
        f"{recipe.precision} fsdp" if (recipe.precision, kind) == ("bf16", "fsdp") else recipe.precision
    ]
    text = model.language.lm.config
    layer = positions * (of_width * text.hidden_size + of_inner * text.intermediate_size)
    decoder = _kept(layer, positions * text.hidden_size * size, len(model.language.layers), recipe)
    masks = positions * recipe.data.sequence_length  # one byte per pair
    cells = model.vision.cells
    connector = tiles * size * model.connector.activations_per_tile(cells, recipe.activation_checkpointing)
    features = tiles * cells * model.vision.width * size
    logits = min(positions, ROWS) * model.language.vocabulary * 2 * FP32
    logits += positions * model.language.vocabulary * 2 * size
    return int(decoder + masks + connector + features + logits)


def _kept(layer: int, entering: int, layers: int, recipe: TrainRecipe) -> int:
    return layer + layers * entering if recipe.activation_checkpointing else layers * layer


def _gathered(model: "ResamplerLMM", recipe: TrainRecipe) -> int:
    """Estimates two decoder layers, one in use and one being gathered, and the weights outside of layers."""
    size = BF16 if recipe.precision == "bf16" else FP32
    layers = model.language.layers
    return size * (2 * _count(layers[0]) + _count(model.language) - _count(layers) + _count(model.connector))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
