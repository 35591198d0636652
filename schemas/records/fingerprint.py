"""What made an annotation: enough to tell two engines apart, and nothing that differs between machines."""

from pydantic import BaseModel, ConfigDict


class EngineFingerprint(BaseModel):
    """Name, version, weights and settings of an engine. A run is resumed only by engines with equal fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    weights_sha256: str  # of the weight files' bytes, in the order that the engine loads them
    settings: dict[str, str | int | float | bool | None]
