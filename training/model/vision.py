"""Wraps SigLIP's image encoder from transformers as the vision tower: pixels in, the features of every cell out.

This module imports torch; it imports transformers, which takes seconds, only where a tower is made.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curation.engines.weights import WeightsFormat
from schemas.errors import UsageError, to_one_line

if TYPE_CHECKING:
    from transformers import SiglipVisionModel

_WEIGHTS = WeightsFormat(
    engine="vision",
    required_files="config.json and *.safetensors of a SigLIP, its vision part or the whole",
    download_patterns=("config.json", "*.safetensors", "*.safetensors.index.json"),
    key="model.vision.pretrained",
    switch="model.allow_download=true",
)
_MODEL_TYPE = "siglip_vision_model"
_TEXT_MODEL_PREFIXES = (
    "text_model.",
    "logit_scale",
    "logit_bias",
)  # keys of a whole SigLIP that the tower does not use


class VisionTower(nn.Module):
    """Returns the last hidden state after `post_layernorm`, as xGen-MM uses it.

    The pooling head is kept, so that a checkpoint is saved as it was loaded and its 15 million parameters are counted
    as in published figures; it is never run and never trained.
    """

    def __init__(self, model: "SiglipVisionModel") -> None:
        super().__init__()
        self.model = model
        side, patch = model.config.image_size, model.config.patch_size
        if not isinstance(side, int) or not isinstance(patch, int):
            raise UsageError(
                f"vision: images of {side} in patches of {patch} are not square; pass a tower with square ones"
            )
        self.width, self.image_size, self.patch_size = model.config.hidden_size, side, patch
        self.frozen = False
        if model.use_head:
            model.head.requires_grad_(False)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "VisionTower":
        """Makes a tower with random weights; `config` is that of `SiglipVisionConfig`.

        Raises `UsageError` for a config that is not valid.
        """
        from transformers import SiglipVisionConfig, SiglipVisionModel

        if (kind := config.get("model_type", _MODEL_TYPE)) != _MODEL_TYPE:  # SiglipVisionConfig would ignore it
            raise UsageError(f"vision: vision.config describes a {kind!r}; only {_MODEL_TYPE!r} can be made")
        known = SiglipVisionConfig().to_dict()
        if unknown := sorted(config.keys() - known.keys()):  # transformers would accept and ignore them
            raise UsageError(f"vision: a SigLIP tower has no setting {', '.join(unknown)}; correct vision.config")
        try:
            model = SiglipVisionModel(SiglipVisionConfig(**config))
        except Exception as error:  # noqa: BLE001  transformers' checks raise any error
            what = to_one_line(error, with_type=True)
            raise UsageError(f"vision: no tower can be made of vision.config: {what}") from None
        return cls(model)

    @classmethod
    def load(cls, name: str, allow_download: bool) -> "VisionTower":
        """Loads a SigLIP's vision part in float32, from a folder or a name on the hub that may hold the whole SigLIP.

        Raises `UsageError` for weights that are not available, lack a tensor, or have an unknown one.
        """
        from transformers import SiglipVisionModel

        folder = _WEIGHTS.find_local_folder(name, allow_download) or _WEIGHTS.fetch(name)
        model_type = _WEIGHTS.read_model_type(folder)
        if model_type not in ("siglip", _MODEL_TYPE):
            raise _WEIGHTS.unfit_error(f"{folder} holds a model of type {model_type!r}; pass one of type 'siglip'")
        model, loaded = _WEIGHTS.load(
            folder,
            SiglipVisionModel,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
        absent = sorted(loaded["missing_keys"])  # transformers initialises them at random
        surplus = sorted(key for key in loaded["unexpected_keys"] if not key.startswith(_TEXT_MODEL_PREFIXES))
        for keys, verb in ((absent, "lacks"), (surplus, "has")):
            if keys:
                what = "tensors that the tower needs" if verb == "lacks" else "tensors that no tower has"
                raise _WEIGHTS.unfit_error(
                    f"{folder} {verb} {len(keys)} {what}, {keys[0]} for example; pass another folder"
                )
        return cls(model)

    @property
    def cells(self) -> int:
        """Counts the cells of a tile: 729 for 384 pixels in patches of 14 (the last six rows and columns are lost)."""
        return (self.image_size // self.patch_size) ** 2

    def freeze(self) -> None:
        """Freezes the tower: no gradients, no dropout, no graph; `train` does not change that."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "VisionTower":
        """Sets the mode, as for any module, but a frozen tower stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def forward(self, tiles: Tensor) -> Tensor:
        """Returns the features [K, cells, width], in the tower's precision, of tiles, uint8 [K, 3, S, S].

        Without tiles there are no features, but a trainable tower still runs on one black tile, with gradients of zero,
        so that all ranks of a sharded tower run the same collectives whether their batches have images or not.
        """
        if not self.frozen:
            return self._compute_features(tiles) if len(tiles) else self._compute_features(self._make_black_tile())[:0]
        if not len(tiles):
            return self.model.post_layernorm.weight.new_empty((0, self.cells, self.width))
        with torch.no_grad():
            return self._compute_features(tiles)

    def _make_black_tile(self) -> Tensor:
        shape, device = (1, 3, self.image_size, self.image_size), self.model.post_layernorm.weight.device
        return torch.zeros(shape, dtype=torch.uint8, device=device)

    def _compute_features(self, tiles: Tensor) -> Tensor:
        precision = self.model.post_layernorm.weight.dtype
        # In bf16 the subtraction would cost the middle grey levels half a level of precision.
        pixels = tiles.to(torch.promote_types(precision, torch.float32)).div_(127.5).sub_(1).to(precision)
        hidden = self.model.encoder(inputs_embeds=self.model.embeddings(pixels)).last_hidden_state
        features: Tensor = self.model.post_layernorm(hidden)
        return features
