"""Wraps an image encoder from transformers as the vision tower: pixels in, the features of every cell out.

This module imports torch; it imports transformers, which takes seconds, only where a tower is made.
"""

from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import UsageError, to_one_line
from training.model.towers.families import FAMILIES, SIGLIP, WEIGHTS, TowerFamily, find_family
from training.model.towers.positions import interpolate_positions
from training.model.towers.tower import Tower


class VisionTower(Tower):
    """Returns the features after a layer of the encoder, without the class token.

    Layer -1 of a SigLIP is its last hidden state after `post_layernorm`, as xGen-MM uses it. All other features are
    transformers' `hidden_states`: -1 and -2 of a CLIP, as MM1 and LLaVA use them, and -2 of a SigLIP.

    What the features do not depend on is kept, so that a checkpoint is saved as it was loaded and its parameters are
    counted as in published figures, but it is never run and never trained: SigLIP's pooling head, for example.
    """

    def __init__(self, model: Any, family: TowerFamily, feature_layer: int = -1, image_size: int | None = None) -> None:
        super().__init__()
        self.model, self.family, self.feature_layer = model, family, feature_layer
        own_size, patch = model.config.image_size, model.config.patch_size
        if not isinstance(own_size, int) or not isinstance(patch, int):
            raise UsageError(
                f"vision: images of {own_size} in patches of {patch} are not square; pass a tower with square ones"
            )
        if image_size is not None and image_size < patch:
            raise UsageError(f"vision: model.vision.image_size {image_size} is less than a patch of {patch} pixels")
        self.width, self.image_size, self.patch_size = model.config.hidden_size, image_size or own_size, patch
        self.layers = list(model.encoder.layers[: len(model.encoder.layers) + 1 + feature_layer])
        self.positions = self.cells + family.has_class_token
        self.patch_weights = sum(parameter.numel() for parameter in model.embeddings.patch_embedding.parameters())
        self.frozen = False
        self.model.requires_grad_(False)
        self.unfreeze()

    @classmethod
    def from_config(
        cls, config: dict[str, Any], feature_layer: int = -1, image_size: int | None = None
    ) -> "VisionTower":
        """Makes a tower with random weights; `config` is that of `SiglipVisionConfig`, or of the class of its type.

        Raises `UsageError` for a config that is not valid.
        """
        import transformers

        kind = config.get("model_type", SIGLIP.model_type)
        if not isinstance(kind, str) or (family := FAMILIES.get(kind)) is None:
            raise UsageError(
                f"vision: vision.config describes a {kind!r}; only {' and '.join(map(repr, FAMILIES))} can be made"
            )
        make_config, make_model = getattr(transformers, family.config_class), getattr(transformers, family.model_class)
        known = make_config().to_dict()
        if unknown := sorted(config.keys() - known.keys()):  # transformers would accept and ignore them
            raise UsageError(
                f"vision: a {family.name} tower has no setting {', '.join(unknown)}; correct vision.config"
            )
        try:
            model = make_model(make_config(**config))
        except Exception as error:  # noqa: BLE001  transformers' checks raise any error
            what = to_one_line(error, with_type=True)
            raise UsageError(f"vision: no tower can be made of vision.config: {what}") from None
        return cls(model, family, feature_layer, image_size)

    @classmethod
    def load(
        cls, name: str, allow_download: bool, feature_layer: int = -1, image_size: int | None = None
    ) -> "VisionTower":
        """Loads a vision part in float32, from a folder or a name on the hub that may hold the whole model.

        Raises `UsageError` for another kind of model, and for weights that are not available, lack a tensor, or have
        an unknown one.
        """
        import transformers

        folder = WEIGHTS.find_local_folder(name, allow_download) or WEIGHTS.fetch(name)
        model_type = WEIGHTS.read_model_type(folder)
        if (family := find_family(model_type)) is None:
            known = " or ".join(repr(family.whole_type) for family in FAMILIES.values())
            raise WEIGHTS.unfit_error(f"{folder} holds a model of type {model_type!r}; pass one of type {known}")
        model, loaded = WEIGHTS.load(
            folder,
            getattr(transformers, family.model_class),
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
        absent = sorted(loaded["missing_keys"])  # transformers initialises them at random
        surplus = sorted(key for key in loaded["unexpected_keys"] if not key.startswith(family.unused_prefixes))
        for keys, verb in ((absent, "lacks"), (surplus, "has")):
            if keys:
                what = "tensors that the tower needs" if verb == "lacks" else "tensors that no tower has"
                raise WEIGHTS.unfit_error(
                    f"{folder} {verb} {len(keys)} {what}, {keys[0]} for example; pass another folder"
                )
        return cls(model, family, feature_layer, image_size)

    def freeze(self) -> None:
        """Freezes the tower: no gradients, no dropout, no graph; `train` does not change that."""
        self.frozen = True
        self.requires_grad_(False)
        self.eval()

    def unfreeze(self) -> None:
        """Lets all parameters learn that the features depend on."""
        self.frozen = False
        used: list[nn.Module] = [self.model.embeddings, *self.layers]
        if self.family.has_class_token:
            used.append(self.model.pre_layrnorm)
        elif self.feature_layer == -1:
            used.append(self.model.post_layernorm)
        for part in used:
            part.requires_grad_(True)

    def get_config(self) -> Any:
        """Returns the configuration of the model that was loaded, with its own image size."""
        return self.model.config

    def train(self, mode: bool = True) -> "VisionTower":
        """Sets the mode, as for any module, but a frozen tower stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def forward(self, tiles: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns the features in the tower's precision, as `Tower.forward` describes.

        Without tiles there are no features, but a trainable tower still runs on one black tile, with gradients of zero,
        so that all ranks of a sharded tower run the same collectives whether their batches have images or not.
        """
        if not self.frozen:
            if len(tiles):
                return self._compute_features(tiles, shown)
            return self._compute_features(self._make_black_tile(), None)[:0]
        if not len(tiles):
            return self._patch_weight.new_empty((0, self.cells, self.width))
        with torch.no_grad():
            return self._compute_features(tiles, shown)

    @property
    def _patch_weight(self) -> Tensor:
        weight: Tensor = self.model.embeddings.patch_embedding.weight
        return weight

    def _make_black_tile(self) -> Tensor:
        shape = (1, 3, self.image_size, self.image_size)
        return torch.zeros(shape, dtype=torch.uint8, device=self._patch_weight.device)

    def _compute_features(self, tiles: Tensor, shown: Tensor | None) -> Tensor:
        hidden = self._embed(self._normalize(tiles))
        has_class_token = self.family.has_class_token
        mask = None if shown is None else _build_mask(shown, hidden, has_class_token)
        if has_class_token:
            hidden = self.model.pre_layrnorm(hidden)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        if has_class_token:
            hidden = hidden[:, 1:]
        elif self.feature_layer == -1:
            hidden = self.model.post_layernorm(hidden)
        return hidden

    def _normalize(self, tiles: Tensor) -> Tensor:
        """Returns the pixels as the tower was trained on them, in its precision."""
        precision = self._patch_weight.dtype
        # In bf16 the subtraction would cost the middle grey levels half a level of precision.
        pixels = tiles.to(torch.promote_types(precision, torch.float32))
        for channel, (mean, deviation) in enumerate(zip(self.family.mean, self.family.deviation, strict=True)):
            pixels[:, channel].div_(255 * deviation).sub_(mean / deviation)
        return pixels.to(precision)

    def _embed(self, pixels: Tensor) -> Tensor:
        """Returns the embeddings [K, positions, width] of pixels, with position embeddings of the tile's size."""
        embeddings = self.model.embeddings
        if self.image_size == self.model.config.image_size:
            own: Tensor = embeddings(pixels)
            return own
        cells: Tensor = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        table: Tensor = embeddings.position_embedding.weight
        first = int(self.family.has_class_token)
        places = interpolate_positions(table[first:], self.image_size // self.patch_size)
        if not first:
            return cells + places
        start = (embeddings.class_embedding + table[0]).expand(len(cells), 1, -1)
        return torch.cat((start, cells + places), dim=1)


def _build_mask(shown: Tensor, hidden: Tensor, has_class_token: bool) -> Tensor:
    """Returns what is added to the scores of attention [K, 1, 1, positions]: minus infinity for cells not shown."""
    seen = torch.nn.functional.pad(shown, (int(has_class_token), 0), value=True)
    return torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, -torch.inf)[:, None, None]
