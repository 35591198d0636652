"""The code of an export is the project's own source: what is needed, as it is written, and nothing of the rest."""

import ast
import inspect

import pytest

from tests.training.support import tiny
from training.exports.assembly import assemble_source, read_module
from training.exports.hf.code import CONFIGURATION, list_references
from training.model.connectors.mlp_projector import MlpProjector
from training.model.connectors.registry import CONNECTORS
from training.model.towers import encoder

HF = "training.exports.hf"
FILES = {f"{HF}.configuration": CONFIGURATION}
MLP = [(MlpProjector.__module__, name) for name in ("MlpProjector", "ProjectorShape")]


def modules_of(source: str) -> set[str]:
    """Those that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return found | {"." * node.level + str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def test_definitions_are_copied_as_they_are_written() -> None:
    source = assemble_source(f"{HF}.modeling", MLP, FILES, '"""A header."""')
    assert source.startswith('"""A header."""\n\n\nfrom __future__ import annotations\n')
    for one in (MlpProjector, encoder.ImageEncoder, encoder._build_mask):
        assert inspect.getsource(one).rstrip() in source
    assert '_ACTIVATIONS = {"gelu": nn.GELU, "mish": nn.Mish}' in source
    assert "class PerceiverResampler" not in source
    assert source.count("class MlpProjector(") == 1
    assert source.index("class Connector(") < source.index("class MlpProjector(")


@pytest.mark.parametrize("name", ["configuration", "modeling", "image_processing", "processing"])
def test_nothing_of_the_project_is_imported(name: str) -> None:
    source = assemble_source(f"{HF}.{name}", MLP if name == "modeling" else (), FILES)
    packages = {module.partition(".")[0] for module in modules_of(source) if not module.startswith(".")}
    known = {"abc", "collections", "dataclasses", "inspect", "itertools", "math", "types", "typing", "__future__"}
    assert packages - known <= {"torch", "transformers", "numpy", "PIL"}
    assert {module for module in modules_of(source) if module.startswith(".")} <= {f".{CONFIGURATION}"}
    compile(source, name, "exec")


@pytest.mark.parametrize("kind", list(CONNECTORS))
def test_every_connector_brings_what_it_needs(kind: str) -> None:
    connector = CONNECTORS[kind].model_validate(tiny.CONNECTORS[kind]).build(16, 8, 6)
    source = assemble_source(f"{HF}.modeling", list_references(connector), FILES)
    defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert type(connector).__name__ in defined
    assert {kind.__name__ for kind in type(connector).__mro__ if kind.__module__.startswith("training.")} <= defined
    assert not {module for module in modules_of(source) if module.partition(".")[0] in ("training", "schemas")}


def test_names_must_be_plain() -> None:
    with pytest.raises(ValueError, match=r"^training.model.tiles imports decode as decode_whole; import it by its own"):
        assemble_source("training.model.tiles")
    two = [("training.model.connectors.mobile_projectors", "LdpProjector")]
    with pytest.raises(ValueError, match=r"both define _(SQUEEZE_DIVISOR|KEPT_PER_CHANNEL); rename one$"):
        assemble_source("training.model.connectors.regnet_abstractor", two)


def test_what_is_read_of_a_module() -> None:
    families = read_module("training.model.towers.families")
    assert families.project == {"WeightsFormat": ("curation.engines.weights", "WeightsFormat")}
    assert families.others == {"dataclass": ("dataclasses", "dataclass")}
    assert families.definitions["Channels"].source.splitlines()[1].startswith('"""A number for each of red')
    assert families.definitions["FAMILIES"].uses >= {"SIGLIP", "CLIP"}
    kind = families.definitions["TowerFamily"]
    assert kind.source.startswith("@dataclass(frozen=True, slots=True)\nclass TowerFamily:")
    assert (kind.is_value, "Channels" in kind.hints, "Channels" in kind.uses) == (False, True, False)
