"""Lists the families of vision towers that can be loaded, with what tells them apart.

SigLIP's towers have no class token, and their features pass a norm after the last layer. CLIP's have a class token, a
norm before the first layer, and after the last one a norm that only the class token passes. DFN's towers, and others of
open_clip whose folders are in transformers' form, are CLIP's: their config.json says what differs, such as the
activation. All of them were trained on pixels with OpenAI's means and deviations.
"""

from dataclasses import dataclass

from curation.engines.weights import WeightsFormat

Channels = tuple[float, float, float]
"""A number for each of red, green and blue, of values from 0 to 1."""


@dataclass(frozen=True, slots=True)
class TowerFamily:
    """Describes a family of towers."""

    name: str
    model_type: str  # of the vision part by itself
    whole_type: str  # of the whole model, with its text part
    model_class: str  # of transformers
    config_class: str
    mean: Channels
    deviation: Channels
    has_class_token: bool
    unused_prefixes: tuple[str, ...]  # of keys of the whole model that the tower does not use


SIGLIP = TowerFamily(
    name="SigLIP",
    model_type="siglip_vision_model",
    whole_type="siglip",
    model_class="SiglipVisionModel",
    config_class="SiglipVisionConfig",
    mean=(0.5, 0.5, 0.5),
    deviation=(0.5, 0.5, 0.5),
    has_class_token=False,
    unused_prefixes=("text_model.", "logit_scale", "logit_bias"),
)
CLIP = TowerFamily(
    name="CLIP",
    model_type="clip_vision_model",
    whole_type="clip",
    model_class="CLIPVisionModel",
    config_class="CLIPVisionConfig",
    mean=(0.48145466, 0.4578275, 0.40821073),
    deviation=(0.26862954, 0.26130258, 0.27577711),
    has_class_token=True,
    unused_prefixes=("text_model.", "logit_scale", "visual_projection.", "text_projection."),
)
FAMILIES = {family.model_type: family for family in (SIGLIP, CLIP)}

WEIGHTS = WeightsFormat(
    engine="vision",
    required_files="config.json and *.safetensors of a SigLIP or a CLIP, its vision part or the whole",
    download_patterns=("config.json", "*.safetensors", "*.safetensors.index.json"),
    key="model.vision.pretrained",
    switch="model.allow_download=true",
)


def find_family(model_type: str) -> TowerFamily | None:
    """Returns the family of a model of this type, whole or its vision part; None for another."""
    types = {family.whole_type: family for family in FAMILIES.values()} | FAMILIES
    return types.get(model_type)
