"""Lists the formats of exports, and refuses a model that a format cannot hold, before its weights are read."""

from collections.abc import Iterator
from typing import Any, Literal

from curation.images.tile_grids import XGEN_GRIDS
from schemas.errors import UsageError
from training.exports.tables import has_common_tables
from training.model.connectors.mlp import MlpOptions
from training.model.lmm import ResamplerLMM
from training.model.towers.encoder import ImageEncoder
from training.model.towers.families import CLIP, SIGLIP

ExportFormat = Literal["shardloom", "hf", "llava", "xgen-mm"]

_Requirement = tuple[bool, str]
"""Whether a model meets it, and what it is."""


def check_format(model: ResamplerLMM, kind: ExportFormat) -> None:
    """Raises `UsageError` for a model that an export of this kind cannot hold; it may be on `meta`."""
    if kind == "shardloom":
        return
    if model.options.vision is None:
        raise UsageError(
            f"export: --format {kind} is for models that take images, and this one has no tower: use --format shardloom"
        )
    missing = next((what for is_met, what in _list_requirements(model, kind) if not is_met), None)
    if missing is not None:
        other = "shardloom" if kind == "hf" else "hf"
        raise UsageError(f"export: --format {kind} needs {missing}; use --format {other}")


def _list_requirements(model: ResamplerLMM, kind: ExportFormat) -> Iterator[_Requirement]:
    if kind == "xgen-mm":
        yield from _list_xgen_mm_requirements(model)
        return
    lm = model.language.lm
    yield has_common_tables(model), f"a language model with embed_tokens, as Llama has, not {lm.config.model_type}"
    if kind == "llava":
        yield from _list_llava_requirements(model)


def _list_llava_requirements(model: ResamplerLMM) -> Iterator[_Requirement]:
    """Yields what transformers' LLaVA asks of a model."""
    options, connector = model.options, model.options.connector
    kind = f"connector kind: mlp, and this model has {connector.kind}"
    yield isinstance(connector, MlpOptions), kind
    if isinstance(connector, MlpOptions):
        yield connector.depth == 2, f"an mlp of depth 2, and this one has {connector.depth}"
        yield connector.pool_side is None, "an mlp without pool_side"
    yield not options.any_resolution.enabled, "any_resolution.enabled: false"
    yield options.any_resolution.fixed == "squash", "any_resolution.fixed: squash"
    tower = model.vision
    assert isinstance(tower, ImageEncoder)
    has_layer = tower.family is CLIP or tower.feature_layer != -1
    yield has_layer, "vision.feature_layer: -2 of a SigLIP, since it knows no norm after the last layer"
    yield tower.image_size == tower.get_config().image_size, "a tower at its own image_size"
    language = model.language
    bias = language.head_bias is not None or language.added_head.bias is not None
    yield not bias, "head_bias: false"
    own: Any = language.lm.get_output_embeddings()  # type: ignore[no-untyped-call]
    kind = language.lm.config.model_type
    yield own.bias is None, f"a language model whose head has no bias, and that of {kind} has one"


def _list_xgen_mm_requirements(model: ResamplerLMM) -> Iterator[_Requirement]:
    """Yields what the released code of xGen-MM asks of a model."""
    options, tiling, tower = model.options, model.options.any_resolution, model.vision
    assert isinstance(tower, ImageEncoder)
    kind = options.connector.kind
    yield kind == "perceiver", f"connector kind: perceiver, and this model has {kind}"
    yield tower.family is SIGLIP and tower.feature_layer == -1, "a SigLIP with feature_layer: -1"
    yield tower.image_size == tower.get_config().image_size, "a tower at its own image_size"
    language = model.language.lm.config.model_type
    yield language == "phi3", f"a language model of type phi3, and this is {language}"
    yield options.head_bias, "head_bias: true"
    yield not tiling.fixed_sampling, "any_resolution.fixed_sampling: false"
    if tiling.enabled:
        yield tiling.tile_order == "reference", "any_resolution.tile_order: reference"
        yield tiling.grids == XGEN_GRIDS, "the grids of the paper"
        yield tiling.canvas == "pad", "any_resolution.canvas: pad"
    else:
        yield tiling.fixed == "squash", "any_resolution.fixed: squash"
