"""A format refuses, in one line and before any weight is read, a model that it cannot hold."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UsageError
from tests.training.support import tiny
from training.exports.formats import ExportFormat, check_format
from training.model.lmm import ResamplerLMM

CLIP = {"config": tiny.VISION | {"model_type": "clip_vision_model"}, "feature_layer": -2}
MLP: dict[str, Any] = {"connector": {"kind": "mlp"}, "vision": CLIP, "head_bias": False}
REFERENCE = {"enabled": True, "tile_order": "reference"}


def check(tokenizer: Path, kind: ExportFormat, changes: dict[str, Any]) -> None:
    check_format(ResamplerLMM.build(tiny.options(tokenizer, **changes), "meta"), kind)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("shardloom", {"vision": None}),
        ("hf", {}),
        ("llava", MLP),
        ("llava", MLP | {"vision": {"config": tiny.VISION, "feature_layer": -2}}),
        ("xgen-mm", {}),
        ("xgen-mm", {"any_resolution": REFERENCE}),
    ],
)
def test_what_passes(tokenizer: Path, kind: ExportFormat, changes: dict[str, Any]) -> None:
    check(tokenizer, kind, changes)


@pytest.mark.parametrize(
    ("kind", "changes", "needs"),
    [
        ("llava", {}, "connector kind: mlp, and this model has perceiver"),
        ("llava", MLP | {"connector": {"kind": "mlp", "depth": 3}}, "an mlp of depth 2, and this one has 3"),
        ("llava", MLP | {"connector": tiny.connector("mlp")}, "an mlp without pool_side"),
        ("llava", MLP | {"any_resolution": {"enabled": True}}, "any_resolution.enabled: false"),
        ("llava", MLP | {"any_resolution": {"fixed": "pad"}}, "any_resolution.fixed: squash"),
        ("llava", MLP | {"vision": CLIP | {"image_size": 84}}, "a tower at its own image_size"),
        ("llava", MLP | {"head_bias": True}, "head_bias: false"),
        (
            *("llava", MLP | {"language": {"config": tiny.PHI3 | {"model_type": "phi"}}}),
            "a language model whose head has no bias, and that of phi has one",
        ),
        (
            *("llava", MLP | {"vision": {"config": tiny.VISION}}),
            "vision.feature_layer: -2 of a SigLIP, since it knows no norm after the last layer",
        ),
        ("xgen-mm", MLP, "connector kind: perceiver, and this model has mlp"),
        ("xgen-mm", {"vision": CLIP}, "a SigLIP with feature_layer: -1"),
        ("xgen-mm", {"vision": {"config": tiny.VISION, "image_size": 84}}, "a tower at its own image_size"),
        ("xgen-mm", {"head_bias": False}, "head_bias: true"),
        ("xgen-mm", {"any_resolution": {"enabled": True}}, "any_resolution.tile_order: reference"),
        ("xgen-mm", {"any_resolution": REFERENCE | {"grids": [[2, 2]]}}, "the grids of the paper"),
        ("xgen-mm", {"any_resolution": REFERENCE | {"canvas": "squash"}}, "any_resolution.canvas: pad"),
        ("xgen-mm", {"any_resolution": REFERENCE | {"fixed_sampling": True}}, "any_resolution.fixed_sampling: false"),
        ("xgen-mm", {"any_resolution": {"fixed": "pad"}}, "any_resolution.fixed: squash"),
        (
            *("xgen-mm", {"language": {"config": tiny.PHI3 | {"model_type": "llama"}}}),
            "a language model of type phi3, and this is llama",
        ),
    ],
)
def test_what_is_refused(tokenizer: Path, kind: ExportFormat, changes: dict[str, Any], needs: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(tokenizer, kind, changes)
    assert str(refused.value) == f"export: --format {kind} needs {needs}; use --format hf"


@pytest.mark.parametrize("kind", ["hf", "llava", "xgen-mm"])
def test_a_language_model_by_itself(tokenizer: Path, kind: ExportFormat) -> None:
    with pytest.raises(UsageError, match=rf"^export: --format {kind} is for models that take images, and this one has"):
        check(tokenizer, kind, {"vision": None})
