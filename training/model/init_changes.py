"""Lets a model start from the weights of one that differs in options that the recipe names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from schemas.errors import UsageError

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

InitChange = Literal["connector.latents", "connector.queries", "connector.positions", "connector.kind", "vision"]
"""An option that may differ. The first three are also the names of the tensors whose rows they count: `positions` are
a C-Abstractor's, which depend on the tower's resolution. `vision` adds a tower to a language model by itself."""

KIND: InitChange = "connector.kind"
POSITIONS: InitChange = "connector.positions"
VISION: InitChange = "vision"
_KINDS = ("perceiver", "instruction_aware")


def renew_connector(model: "ResamplerLMM") -> None:
    """Gives a model of uninitialised weights a connector with new ones, which are the same for the same seed."""
    from training.model.lmm import build_connector  # here, so that a recipe is read without torch
    from training.model.new_weights import draw_new_weights

    options = model.options
    with draw_new_weights(options.seed, model.device.type):
        model.connector = build_connector(options, model.vision, model.language.width)


def check_kinds(there: str, here: str, changes: Sequence[InitChange], where: str) -> None:
    """Raises `UsageError` when the kind of connector changes otherwise than from perceiver to instruction_aware."""
    if KIND in changes and there != here and (there, here) != _KINDS:
        raise UsageError(
            f"init_changes: {KIND} is {there!r} in {where} and {here!r} here; it may change only from {_KINDS[0]!r} to"
            f" {_KINDS[1]!r}"
        )


def check_towers(there: bool, here: bool, changes: Sequence[InitChange], where: str) -> None:
    """Raises `UsageError` unless both models have a tower, or none, or the change adds one to a model without.

    `there` and `here` say whether they have a tower.
    """
    if there and not here:
        raise UsageError(f"model: {where} has a vision tower and model.vision is null: describe the tower there")
    if here and not there and VISION not in changes:
        raise UsageError(
            f"model: {where} has no vision tower: set init_changes: [{VISION}] to add the recipe's and a new connector"
        )
    if there and VISION in changes:
        raise UsageError(f"init_changes: {VISION} adds a tower, but {where} has one: leave it out")
