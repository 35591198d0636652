"""Makes and loads the vision tower, an image encoder from transformers: pixels in, the features of every cell out.

This module imports torch; it imports transformers, which takes seconds, only where a tower is made.
"""

from typing import Any

import torch

from schemas.errors import UsageError, to_one_line
from training.model.towers.encoder import ImageEncoder
from training.model.towers.families import FAMILIES, SIGLIP, WEIGHTS, TowerFamily, find_family


class VisionTower(ImageEncoder):
    """An `ImageEncoder` that is made from a configuration, or loaded from a folder or the hub."""

    def __init__(self, model: Any, family: TowerFamily, feature_layer: int = -1, image_size: int | None = None) -> None:
        own_size, patch = model.config.image_size, model.config.patch_size
        if not isinstance(own_size, int) or not isinstance(patch, int):
            raise UsageError(
                f"vision: images of {own_size} in patches of {patch} are not square; pass a tower with square ones"
            )
        if image_size is not None and image_size < patch:
            raise UsageError(f"vision: model.vision.image_size {image_size} is less than a patch of {patch} pixels")
        super().__init__(model, family, feature_layer, image_size)

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
