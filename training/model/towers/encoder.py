"""Runs an image encoder of transformers as a vision tower; `training/model/vision.py` makes and loads them.

The export for transformers takes this code as it is, so it needs torch and no more.
"""

from typing import Any

import torch
from torch import Tensor, nn

from training.model.towers.families import TowerFamily
from training.model.towers.pixels import normalize_pixels
from training.model.towers.positions import interpolate_positions
from training.model.towers.tower import Tower


class ImageEncoder(Tower):
    """Returns the features after a layer of the encoder, without the class token.

    Layer -1 of a SigLIP is its last hidden state after `post_layernorm`, as xGen-MM uses it. All other features are
    transformers' `hidden_states`: -1 and -2 of a CLIP, as MM1 and LLaVA use them, and -2 of a SigLIP.

    What the features do not depend on is kept, so that a checkpoint is saved as it was loaded and its parameters are
    counted as in published figures, but it is never run and never trained: SigLIP's pooling head, for example.
    """

    def __init__(self, model: Any, family: TowerFamily, feature_layer: int = -1, image_size: int | None = None) -> None:
        super().__init__()
        self.model, self.family, self.feature_layer = model, family, feature_layer
        self.width, self.patch_size = model.config.hidden_size, model.config.patch_size
        self.image_size = image_size or model.config.image_size
        self.layers = list(model.encoder.layers[: len(model.encoder.layers) + 1 + feature_layer])
        self.positions = self.cells + family.has_class_token
        self.patch_weights = sum(parameter.numel() for parameter in model.embeddings.patch_embedding.parameters())
        self.frozen = False
        self.model.requires_grad_(False)
        self.unfreeze()

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

    def train(self, mode: bool = True) -> "ImageEncoder":
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

    def encode(self, pixels: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns the features of pixels [K, 3, S, S] that `normalize_pixels` returned; `shown` is as in `forward`."""
        hidden = self._embed(pixels)
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

    @property
    def _patch_weight(self) -> Tensor:
        weight: Tensor = self.model.embeddings.patch_embedding.weight
        return weight

    def _make_black_tile(self) -> Tensor:
        shape = (1, 3, self.image_size, self.image_size)
        return torch.zeros(shape, dtype=torch.uint8, device=self._patch_weight.device)

    def _compute_features(self, tiles: Tensor, shown: Tensor | None) -> Tensor:
        precision = self._patch_weight.dtype
        return self.encode(normalize_pixels(tiles, self.family.mean, self.family.deviation, precision), shown)

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
