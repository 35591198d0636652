"""Finds the options of a connector by the `kind` that a recipe names."""

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from training.model.connectors.attention_pool import AttentionPoolOptions
from training.model.connectors.c_abstractor import CAbstractorOptions
from training.model.connectors.instruction_aware import InstructionAwareOptions
from training.model.connectors.ldp import LdpOptions, LdpV2Options
from training.model.connectors.mlp import AveragePoolOptions, LinearOptions, MlpOptions, XdpOptions
from training.model.connectors.options import ConnectorOptions
from training.model.connectors.perceiver import PerceiverOptions

CONNECTORS: dict[str, type[ConnectorOptions]] = {
    "perceiver": PerceiverOptions,
    "linear": LinearOptions,
    "mlp": MlpOptions,
    "average_pool": AveragePoolOptions,
    "attention_pool": AttentionPoolOptions,
    "c_abstractor": CAbstractorOptions,
    "ldp": LdpOptions,
    "ldpv2": LdpV2Options,
    "xdp": XdpOptions,
    "instruction_aware": InstructionAwareOptions,
}
DEFAULT_KIND = "perceiver"


def _validate_by_kind(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", DEFAULT_KIND)
    if not isinstance(kind, str) or kind not in CONNECTORS:
        raise ValueError(f"there is no kind {kind!r}: use {', '.join(list(CONNECTORS)[:-1])} or {list(CONNECTORS)[-1]}")
    return CONNECTORS[kind].model_validate(value)


AnyConnectorOptions = Annotated[SerializeAsAny[ConnectorOptions], BeforeValidator(_validate_by_kind)]
"""The options of any connector, selected by `kind`. A discriminated union of pydantic would need two members, and would
put `kind` into the path of every error."""
