"""Builds AdamW over the parts of the model, each with its own learning rate."""

import math
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import nn

from schemas.errors import UsageError
from training.model.connector import Connector
from training.model.weights import get_plain_name
from training.recipe import LearningRates, OptimizerOptions, ParameterGroup

if TYPE_CHECKING:
    from training.model.lmm import ResamplerLMM

GROUPS_BY_PREFIX: dict[str, ParameterGroup] = {"vision": "tower", "connector": "connector", "language": "language"}


def compute_mm1_rate(parameters: int) -> float:
    """Returns the best learning rate by MM1's rule (arXiv 2403.09611), from the number of non-embedding parameters."""
    return math.exp(-0.4214 * math.log(parameters) - 0.5535)


def resolve_learning_rates(options: OptimizerOptions, parameters: int) -> LearningRates:
    """Returns the peak rates, by the learning-rate rule if the options name one.

    `parameters` is the number of the language model's parameters without embeddings.
    """
    if options.lr_rule is None:
        return options.lr
    rate = compute_mm1_rate(parameters)
    asked = options.lr.model_dump()
    return LearningRates(**{name: rate if asked[name] > 0 else 0.0 for name in get_args(ParameterGroup)})


def find_parameter_group(name: str) -> ParameterGroup:
    """Returns the part of the model that the parameter of this name belongs to."""
    return GROUPS_BY_PREFIX[name.split(".", 1)[0]]


def freeze(model: "ResamplerLMM", lr: LearningRates) -> None:
    """Freezes the parts whose learning rate is 0. Raises `UsageError` when no part is left to train."""
    if lr.tower:
        model.vision.unfreeze()
    for module, rate in ((model.connector, lr.connector), (model.language, lr.language)):
        module.requires_grad_(rate > 0)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("optimizer.lr: every part is frozen; give one of them a rate above 0")


def select_trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters by the names that they had before their modules were wrapped."""
    return {get_plain_name(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def make_optimizer(model: nn.Module, options: OptimizerOptions, lr: LearningRates) -> torch.optim.AdamW:
    """Builds AdamW with separate groups by part and by weight decay; a group's `peak` is its peak learning rate."""
    highest, undecayed = lr.model_dump(), _find_no_weight_decay(model)
    groups: dict[tuple[ParameterGroup, float], list[nn.Parameter]] = {}
    for name, parameter in select_trainable(model).items():
        is_matrix = parameter.ndim >= 2 and name not in undecayed
        decay = options.weight_decay if options.weight_decay_on == "all" or is_matrix else 0.0
        groups.setdefault((find_parameter_group(name), decay), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {"params": held, "part": part, "peak": highest[part], "lr": highest[part], "weight_decay": decay}
        for (part, decay), held in groups.items()
    ]
    fused = all(parameter.device.type == "cuda" for held in groups.values() for parameter in held)
    return torch.optim.AdamW(settings, betas=options.betas, eps=options.eps, fused=fused or None)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> dict[str, float]:
    """Sets every group's rate to `factor` times its peak, and returns the rates by part."""
    found: dict[str, float] = {}
    for group in optimizer.param_groups:
        group["lr"] = found[group["part"]] = group["peak"] * factor
    return found


def collect_optimizer_state(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, dict[str, torch.Tensor]]:
    """Returns the optimizer's state by parameter, and creates it as zeros where no step was taken yet."""
    found = {}
    for name, parameter in select_trainable(model).items():
        state = optimizer.state[parameter]
        if not state:
            on_device = optimizer.param_groups[0]["fused"]
            state["step"] = torch.zeros((), device=parameter.device if on_device else "cpu")
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        found[name] = state
    return found


def _find_no_weight_decay(model: nn.Module) -> set[str]:
    """Returns the names of the connector's matrices that take no weight decay."""
    connectors = (module for module in model.modules() if isinstance(module, Connector))
    return {f"connector.{name}" for connector in connectors for name in connector.no_weight_decay}
