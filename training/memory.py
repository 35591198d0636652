"""Estimates the memory that a run needs on each device, by part of the model, before the run starts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from training.objective import LOGITS_CHUNK_SIZE
from training.optimizer import GROUPS_BY_PREFIX
from training.recipe import TrainRecipe

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

FP32_BYTES, BF16_BYTES = 4, 2
MOMENTS_PER_WEIGHT = 2  # numbers that Adam keeps for each weight
PART_TITLES = {"tower": "vision tower", "connector": "connector", "language": "language model"}

_LAYER_BYTES = {"fp32": (54, 16), "bf16": (46, 12), "bf16 fsdp": (31, 8)}
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
class MemoryEstimate:
    """Holds the memory of a whole run, in bytes per device."""

    parts: list[PartMemory]
    activations: int  # estimated, at their peak
    gathered: int  # of a sharded model: weights that are gathered for use at the same time
    reduced: int  # of a sharded model: gradients of layers that are whole while they are summed over the ranks

    @property
    def total(self) -> int:
        """Returns the sum; CUDA and its libraries take one or two GB more."""
        held = sum(part.weights + part.gradients + part.moments for part in self.parts)
        return held + self.activations + self.gathered + self.reduced


def estimate_memory(model: "ResamplerLMM", recipe: TrainRecipe, world_size: int, kind: str) -> MemoryEstimate:
    """Estimates the memory of a model that `freeze` has prepared; only its shapes count.

    `kind` is none, ddp or fsdp.
    """
    parts = []
    for prefix, group in GROUPS_BY_PREFIX.items():
        module = model.get_submodule(prefix)
        total = sum(p.numel() for p in module.parameters())
        if not total:  # a language model by itself has neither tower nor connector
            continue
        learning = sum(p.numel() for p in module.parameters() if p.requires_grad)
        by = world_size if kind == "fsdp" else 1
        frozen_tower = prefix == "vision" and not learning
        frozen = (total - learning) * (BF16_BYTES if frozen_tower and recipe.precision == "bf16" else FP32_BYTES)
        weights = learning * FP32_BYTES // by + (frozen if frozen_tower else frozen // by)
        gradients = learning * FP32_BYTES // (1 if _has_whole_gradients(recipe, world_size) else by)
        moments = learning * FP32_BYTES * MOMENTS_PER_WEIGHT // by
        parts.append(PartMemory(PART_TITLES[group], total, learning, weights, gradients, moments))
    activations, sharded = _estimate_activations(model, recipe, kind), kind == "fsdp"
    gathered = _estimate_all_gather(model, recipe) if sharded else 0
    return MemoryEstimate(parts, activations, gathered, _estimate_reduction(model, recipe) if sharded else 0)


def _has_whole_gradients(recipe: TrainRecipe, world_size: int) -> bool:
    """Returns whether a rank's gradients add up over micro-batches before they are summed over the ranks."""
    several = recipe.global_batch_size > recipe.micro_batch_size * world_size
    return several and recipe.reduce_gradients == "step"


def _estimate_activations(model: "ResamplerLMM", recipe: TrainRecipe, kind: str) -> int:
    """Estimates the activations at their peak, the end of the forward pass.

    With recomputation these are one layer's, and the input of each layer.
    """
    size = BF16_BYTES if recipe.precision == "bf16" else FP32_BYTES
    positions = recipe.micro_batch_size * recipe.data.sequence_length
    tiles = recipe.micro_batch_size * recipe.data.tiles_per_sequence
    of_width, of_inner = _LAYER_BYTES[
        f"{recipe.precision} fsdp" if (recipe.precision, kind) == ("bf16", "fsdp") else recipe.precision
    ]
    text = model.language.lm.config
    layer = positions * (of_width * text.hidden_size + of_inner * text.intermediate_size)
    decoder = _estimate_layers(layer, positions * text.hidden_size * size, len(model.language.layers), recipe)
    masks = positions * recipe.data.sequence_length  # one byte per pair
    cells = model.vision.cells
    connector = tiles * size * model.connector.count_activations_per_tile(cells, recipe.activation_checkpointing)
    features = tiles * cells * model.vision.width * size
    logits = min(positions, LOGITS_CHUNK_SIZE) * model.language.vocabulary_size * 2 * FP32_BYTES
    logits += positions * model.language.vocabulary_size * 2 * size
    return int(decoder + masks + connector + features + logits)


def _estimate_layers(layer: int, layer_input: int, layers: int, recipe: TrainRecipe) -> int:
    return layer + layers * layer_input if recipe.activation_checkpointing else layers * layer


def _estimate_all_gather(model: "ResamplerLMM", recipe: TrainRecipe) -> int:
    """Estimates two decoder layers, one in use and one being gathered, and the weights outside of layers."""
    size = BF16_BYTES if recipe.precision == "bf16" else FP32_BYTES
    layers = model.language.layers
    return size * (
        2 * _count_parameters(layers[0])
        + _count_parameters(model.language)
        - _count_parameters(layers)
        + _count_parameters(model.connector)
    )


def _estimate_reduction(model: "ResamplerLMM", recipe: TrainRecipe) -> int:
    """Estimates the gradients of one decoder layer, and the fp32 copy of another's that is being sent.

    Those outside of layers come last, when the activations are free again, so they do not count.
    """
    if not any(parameter.requires_grad for parameter in model.language.layers[0].parameters()):
        return 0
    size = BF16_BYTES if recipe.precision == "bf16" else FP32_BYTES
    return (size + FP32_BYTES) * _count_parameters(model.language.layers[0])


def _count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
