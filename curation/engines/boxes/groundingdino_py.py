"""Finds boxes with Grounding DINO's original package (groundingdino-py), beside `GroundingDino` of transformers.

The package needs an older transformers, and torchvision, so it runs in a separate environment
(`pipelines/environments/groundingdino-py.txt`). Prompts, image sizes, thresholds and suppression are those of
`GroundingDino`, and so are the weights: a folder as transformers saves it (the published weights exist in that form,
without pickle), whose tensors are renamed for the package. The same weights give the same boxes: see
`tests/curation/engines`.

The package's custom CUDA kernel for deformable attention is not in its wheel; the package computes it in plain torch.
"""

# mypy: disable-error-code="import-not-found"
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curation.engines.boxes.grounding_dino import GroundingDino
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import (
    GROUNDING_DINO,
    Detector,
    check_tokenizer,
    fetch_weights,
    resolve_weights_folder,
)
from curation.engines.boxes.groundingdino_names import rename_tensors
from curation.engines.boxes.prompts import SEPARATORS
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import BOXES
from schemas.errors import UsageError

WIDTH = 256  # hard-coded in the package

# The tensors that transformers' file lacks and the package makes itself.
_COMPUTED_TENSORS = ("relative_position_index", "position_ids", "bert.pooler.dense.weight", "bert.pooler.dense.bias")


class GroundingDinoPySettings(GroundingDinoSettings):
    """Has the settings of `GroundingDinoSettings`, but the user must name `weights`."""


def check_weights(settings: GroundingDinoPySettings) -> None:
    """Raises `UsageError` for weights that are missing or unfit. Loads and fetches nothing."""
    if settings.weights is None:
        raise UsageError(
            f"groundingdino-py: no weights; pass --weights boxes=FOLDER with {GROUNDING_DINO.required_files}; "
            f"{GROUNDING_DINO.source}"
        )
    if GROUNDING_DINO.find_local_folder(settings.weights, settings.allow_download) is not None:
        folder = resolve_weights_folder(settings.weights, allow_download=False)
        check_model(folder, GROUNDING_DINO.read_json(folder, "config.json").get("d_model", WIDTH))


def check_settings(settings: GroundingDinoPySettings, _: OtherEngines) -> list[str]:
    """Checks the weights before a run. Raises `UsageError`."""
    check_weights(settings)
    return []


def check_model(folder: Path, width: object) -> None:
    """Raises `UsageError` for a model that the package lacks: another type, or a `d_model` other than its `width`."""
    if GROUNDING_DINO.read_model_type(folder) != "grounding-dino":
        raise GROUNDING_DINO.unfit_error(f"{folder} holds a model that groundingdino-py lacks; pass another folder")
    if width != WIDTH:
        raise GROUNDING_DINO.unfit_error(
            f"groundingdino-py takes a d_model of {WIDTH} and {folder} has {width}; pass another folder"
        )


class GroundingDinoPy(GroundingDino):
    """Implements `BoxEngine` with the authors' package."""

    name = "groundingdino-py"
    packages = ("groundingdino-py", "transformers", "torch", "torchvision", "pillow")

    def __init__(self, settings: GroundingDinoPySettings) -> None:
        check_weights(settings)
        super().__init__(settings)

    def _load(self, folder: Path) -> Detector:
        try:
            import groundingdino  # noqa: F401
        except ImportError as error:
            raise GROUNDING_DINO.unfit_error(f"{error}; groundingdino-py needs a separate environment") from None
        return load_package_detector(folder)


def load_package_detector(folder: Path) -> Detector:
    """Loads the package's model (float32, on the CPU), the tokenizer and the image processor from the folder.

    Raises `UsageError` for an unfit folder.
    """
    import transformers
    from transformers.models.grounding_dino import GroundingDinoConfig

    config = GROUNDING_DINO.load(folder, GroundingDinoConfig)
    check_model(folder, config.d_model)
    tokenizer = GROUNDING_DINO.load(folder, getattr(transformers, "BertTokenizerFast"))  # noqa: B009  removed in 5
    check_tokenizer(folder, tokenizer, config.text_config.vocab_size)
    model = _build_model(config)
    _load_weights(model, folder)
    return Detector(_TransformersAdapter(model.eval(), config), tokenizer, _ImageProcessor(folder))


def _build_model(config: Any) -> Any:
    """Makes the package's model, with the sizes in transformers' configuration."""
    from groundingdino.models.GroundingDINO.backbone.backbone import Joiner
    from groundingdino.models.GroundingDINO.backbone.position_encoding import build_position_encoding
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer
    from groundingdino.models.GroundingDINO.groundingdino import GroundingDINO
    from groundingdino.models.GroundingDINO.transformer import Transformer

    swin = config.backbone_config
    stages = tuple(stage - 1 for stage in swin.out_indices)  # the package counts without the stem
    vision = SwinTransformer(
        pretrain_img_size=swin.image_size,
        patch_size=swin.patch_size,
        embed_dim=swin.embed_dim,
        depths=list(swin.depths),
        num_heads=list(swin.num_heads),
        window_size=swin.window_size,
        mlp_ratio=swin.mlp_ratio,
        qkv_bias=swin.qkv_bias,
        out_indices=stages,
    )
    temperature = config.positional_embedding_temperature
    positions = build_position_encoding(
        SimpleNamespace(
            hidden_dim=config.d_model,
            position_embedding="sine",
            pe_temperatureH=temperature,
            pe_temperatureW=temperature,
        )
    )
    backbone = Joiner(vision, positions)
    backbone.num_channels = [vision.num_features[stage] for stage in stages]
    transformer = Transformer(
        d_model=config.d_model,
        nhead=config.encoder_attention_heads,
        num_queries=config.num_queries,
        num_encoder_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        dim_feedforward=config.encoder_ffn_dim,
        activation=config.activation_function,
        return_intermediate_dec=True,
        query_dim=config.query_dim,
        num_feature_levels=config.num_feature_levels,
        enc_n_points=config.encoder_n_points,
        dec_n_points=config.decoder_n_points,
        learnable_tgt_init=True,
        two_stage_type="standard",
        embed_init_tgt=config.embedding_init_target,
        use_text_enhancer=True,
        use_fusion_layer=True,
        use_text_cross_attention=True,
        text_dropout=0.0,
        fusion_dropout=0.0,
        fusion_droppath=0.1,  # a layer scale depends on it; nothing is dropped in eval
    )
    with _patch_text_encoder(config.text_config):
        return GroundingDINO(
            backbone,
            transformer,
            num_queries=config.num_queries,
            iter_update=True,
            query_dim=config.query_dim,
            num_feature_levels=config.num_feature_levels,
            nheads=config.encoder_attention_heads,
            two_stage_type="standard",
            dec_pred_bbox_embed_share=config.decoder_bbox_embed_share,
            two_stage_class_embed_share=False,
            two_stage_bbox_embed_share=config.two_stage_bbox_embed_share,
            max_text_len=config.max_text_len,
        )


@contextlib.contextmanager
def _patch_text_encoder(config: Any) -> Iterator[None]:
    """Gives the package an untrained BERT, whose weights are overwritten later; it would fetch one by its name."""
    from groundingdino.util import get_tokenlizer as source
    from transformers import BertModel

    had = source.get_tokenlizer, source.get_pretrained_language_model
    tokenizer = SimpleNamespace(convert_tokens_to_ids=lambda _: list(SEPARATORS))
    source.get_tokenlizer = lambda _: tokenizer
    source.get_pretrained_language_model = lambda _: BertModel(config)
    try:
        yield
    finally:
        source.get_tokenlizer, source.get_pretrained_language_model = had


def _load_weights(model: Any, folder: Path) -> None:
    """Copies the folder's weights into the model. Raises `UsageError` for a tensor that either of them lacks."""
    import torch
    from safetensors.torch import load_file

    files = [load_file(path) for path in sorted(folder.glob("[!.]*.safetensors"))]
    held = {name: tensor for file in files for name, tensor in file.items()}
    tensors = rename_tensors(held, lambda parts: torch.cat(list(parts)))
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    state = model.state_dict(keep_vars=True)
    filled = {id(state[name]) for name in tensors if name in state}  # one tensor may have several names
    absent = [name for name in missing if not name.endswith(_COMPUTED_TENSORS) and id(state[name]) not in filled]
    if absent or unexpected:
        what = f"lacks {absent[0]}" if absent else f"holds {unexpected[0]}, which the package does not have"
        raise GROUNDING_DINO.unfit_error(f"{folder} {what}; pass another folder")


class _TransformersAdapter:
    """Wraps the package's model in the interface that `GroundingDino` calls."""

    def __init__(self, model: Any, config: Any) -> None:
        self.model, self.config = model, config
        model.tokenizer = self._get_tokens  # the prompt is tokenised already
        self._ready: Any = None

    def to(self, device: str) -> "_TransformersAdapter":
        self.model.to(device)
        return self

    def __call__(self, pixel_values: Any, input_ids: Any, attention_mask: Any) -> SimpleNamespace:
        import torch
        from groundingdino.util.misc import NestedTensor
        from transformers import BatchEncoding

        self._ready = BatchEncoding(
            {
                "input_ids": input_ids,
                "token_type_ids": torch.zeros_like(input_ids),
                "attention_mask": attention_mask,
            }
        )
        size = (len(pixel_values), *pixel_values.shape[-2:])
        nothing_padded = torch.zeros(size, dtype=torch.bool, device=pixel_values.device)
        found = self.model(NestedTensor(pixel_values, nothing_padded), captions=[""] * len(pixel_values))
        return SimpleNamespace(logits=found["pred_logits"], pred_boxes=found["pred_boxes"])

    def _get_tokens(self, captions: list[str], **_: object) -> Any:
        return self._ready


class _ImageProcessor:
    """Wraps the older transformers' image processor, with its sizes as attributes like those of the newer one."""

    def __init__(self, folder: Path) -> None:
        from transformers.models.grounding_dino.image_processing_grounding_dino import GroundingDinoImageProcessor

        self._processor = GROUNDING_DINO.load(folder, GroundingDinoImageProcessor)
        names = ("height", "width", "shortest_edge", "longest_edge")
        self.size = SimpleNamespace(**{name: self._processor.size.get(name) for name in names})
        self.do_resize = self._processor.do_resize

    def __call__(self, **options: Any) -> Any:
        return self._processor(**options)


ENGINE = EngineDeclaration(
    name="groundingdino-py",
    kind=BOXES,
    settings=GroundingDinoPySettings,
    make=GroundingDinoPy,
    environment="groundingdino-py",
    check=check_settings,
    fetch=fetch_weights,
    restricted_settings=("weights", "allow_download"),
)
