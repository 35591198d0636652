"""Lets a model start from the weights of one that differs in options that the recipe names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from schemas.errors import UsageError

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

InitChange = Literal["connector.latents", "connector.queries", "connector.kind"]
"""An option that may differ. The first two are also the names of the tensors whose rows they count."""

KIND: InitChange = "connector.kind"
_KINDS = ("perceiver", "instruction_aware")


def renew_connector(model: "ResamplerLMM") -> None:
    """Gives a model of uninitialised weights a connector with new ones, which are the same for the same seed."""
    from training.model.new_weights import draw_new_weights  # here, so that a recipe is read without torch

    options = model.options
    with draw_new_weights(options.seed, model.device.type):
        model.connector = options.connector.build(model.vision.cells, model.vision.width, model.language.width)


def check_kinds(there: str, here: str, changes: Sequence[InitChange], where: str) -> None:
    """Raises `UsageError` when the kind of connector changes otherwise than from perceiver to instruction_aware."""
    if KIND in changes and there != here and (there, here) != _KINDS:
        raise UsageError(
            f"init_changes: {KIND} is {there!r} in {where} and {here!r} here; it may change only from {_KINDS[0]!r} to"
            f" {_KINDS[1]!r}"
        )
