"""Finds the options of a connector by the `kind` that a recipe names."""

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from training.model.connectors.options import ConnectorOptions
from training.model.connectors.perceiver import PerceiverOptions

CONNECTORS: dict[str, type[ConnectorOptions]] = {
    "perceiver": PerceiverOptions,
}
DEFAULT_KIND = "perceiver"


def _validate_by_kind(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", DEFAULT_KIND)
    if not isinstance(kind, str) or kind not in CONNECTORS:
        raise ValueError(f"there is no kind {kind!r}: use {' or '.join(CONNECTORS)}")
    return CONNECTORS[kind].model_validate(value)


AnyConnectorOptions = Annotated[SerializeAsAny[ConnectorOptions], BeforeValidator(_validate_by_kind)]
"""The options of any connector, selected by `kind`. A discriminated union of pydantic would need two members, and would
put `kind` into the path of every error."""
