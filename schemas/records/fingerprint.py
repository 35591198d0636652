"""Identifies what made an annotation: enough to distinguish two engines, and nothing that differs between machines."""

from pydantic import BaseModel, ConfigDict


class EngineFingerprint(BaseModel):
    """Identifies an engine by name, version, weights and settings. A run resumes only with equal fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    weights_sha256: str  # of the weight files' bytes, in the order that the engine loads them
    settings: dict[str, str | int | float | bool | None]
