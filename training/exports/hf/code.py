"""Writes the code of an export for transformers, each file assembled from this project's own source."""

import hashlib
from dataclasses import is_dataclass
from pathlib import Path

from training.exports.assembly import Reference, assemble_source
from training.model.connector import Connector

CONFIGURATION, MODELING = "configuration_shardloom", "modeling_shardloom"
IMAGE_PROCESSING, PROCESSING = "image_processing_shardloom", "processing_shardloom"

_SOURCES = {
    CONFIGURATION: "training.exports.hf.configuration",
    MODELING: "training.exports.hf.modeling",
    IMAGE_PROCESSING: "training.exports.hf.image_processing",
    PROCESSING: "training.exports.hf.processing",
}
_SIBLINGS = {_SOURCES[CONFIGURATION]: CONFIGURATION}
_HEADER = (
    '"""Runs a model that Shardloom trained.\n\n'
    '`shardloom export` assembled this file from its own source (Apache-2.0).{note}\n"""'
)


def write_code(folder: Path, connector: Connector) -> None:
    """Writes the four files; of the connectors the model's alone is among them.

    The configuration has a digest of the model's code: transformers knows a model's class by its configuration's, so
    that two exports in folders of one name would share the class of the first, whose connector may be another.
    """
    model = assemble_source(_SOURCES[MODELING], list_references(connector), _SIBLINGS, _HEADER.format(note=""))
    (folder / f"{MODELING}.py").write_text(model, "utf-8")
    for name in (CONFIGURATION, IMAGE_PROCESSING, PROCESSING):
        digest = hashlib.sha256(model.encode()).hexdigest()
        note = f" It belongs to\n{MODELING}.py with the SHA-256 {digest}." if name == CONFIGURATION else ""
        source = assemble_source(_SOURCES[name], (), _SIBLINGS, _HEADER.format(note=note))
        (folder / f"{name}.py").write_text(source, "utf-8")


def list_references(connector: Connector) -> list[Reference]:
    """Lists the connector's class, and those of its arguments that are records."""
    kinds = [type(connector), *(type(value) for value in connector.arguments.values() if is_dataclass(value))]
    return [(kind.__module__, kind.__name__) for kind in kinds]
