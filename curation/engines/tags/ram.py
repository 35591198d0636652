"""Tags a picture with RAM or RAM++, the tagger of xGen-MM's grounding captions, by its scores for a fixed list of tags.

A tag's score is a probability of its own (a sigmoid), so every tag above the floor is kept. The published code keeps
the same tags and drops their scores. Pictures are resized to a square, as they are there. Shardloom ships no weights.

torch and transformers, which take seconds to import, are imported only where weights are read.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.engines.batch_fitter import PassSize
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import TAGS
from curation.engines.tags.ram_labels import read_labels
from curation.engines.tags.ram_settings import RamTagSettings
from curation.engines.tags.ram_weights import RAM, check_checkpoint, find_checkpoint, load_model
from curation.engines.weights import hash_files
from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag

_EXCLUDED_SETTINGS = {"weights", "vocabulary", "thresholds"}  # the paths of files do not identify them
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet's pixels, as the published code normalises them
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class RamTags:
    """Implements `TagEngine`: the picture's tags by score. It does not read the alt text."""

    def __init__(self, settings: RamTagSettings | None = None) -> None:
        """Loads the weights. Raises `UsageError` for missing or unfit files, and for a missing device."""
        import torch

        self.settings = settings or RamTagSettings()
        path = find_checkpoint(self.settings.weights)
        self.labels = read_labels(self.settings)
        self.device, self.precision = RAM.resolve_device(self.settings.device, self.settings.precision)
        torch.set_num_threads(self.settings.threads)
        self.images_per_pass = self.settings.images_per_pass or (32 if self.device == "cuda" else 1)
        self.pass_size = PassSize(self.images_per_pass, "image")  # smaller where the GPU's memory is full
        self.fingerprint = self._build_fingerprint(path)
        self._model = load_model(path, len(self.labels.names)).to(self.device)

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """Returns the tags of each image. Raises `RuntimeError` for scores that are not finite."""
        return [self._select_tags(scores) for scores in self.score_images(images)]

    def score_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns the score of each tag for each image, 0 to 1, images x tags."""
        step = self.pass_size.size
        passes = [self._score_pass(images[start : start + step]) for start in range(0, len(images), step)]
        return np.concatenate(passes or [np.empty((0, len(self.labels.names)), np.float32)])

    def _score_pass(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        import torch

        pixels = np.stack([prepare_pixels(image, self._model.image_side) for image in images])
        with (
            torch.inference_mode(),
            torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            logits = self._model(torch.from_numpy(pixels).to(self.device)).float()
        if not logits.isfinite().all():
            raise RuntimeError(f"ram: non-finite scores in {self.precision} on {self.device}")
        return np.asarray(logits.sigmoid().cpu().numpy(), np.float32)

    def _select_tags(self, scores: NDArray[np.float32]) -> list[Tag]:
        found = [(-float(scores[n]), self.labels.names[n]) for n in np.flatnonzero(scores > self.labels.limits)]
        return [Tag(name, -minus_score, "image") for minus_score, name in sorted(found)]

    def _build_fingerprint(self, path: Path) -> EngineFingerprint:
        return EngineFingerprint(
            name="ram",
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in ("transformers", "torch", "pillow")),
            weights_sha256=hash_files(path.parent, [path.name]),
            settings=self.settings.model_dump(exclude=_EXCLUDED_SETTINGS)
            | {
                "device": self.device,
                "precision": self.precision,
                "images_per_pass": self.images_per_pass,
                "vocabulary": self.labels.sha256,
                "thresholds": self.labels.thresholds_sha256,
            },
        )


def prepare_pixels(image: RgbImage, side: int) -> NDArray[np.float32]:
    """Returns an image as the model reads it: resized to a square, normalised, 3 x side x side."""
    resized = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    pixels: NDArray[Any] = np.asarray(resized, np.float32) / 255
    return np.ascontiguousarray(((pixels - _MEAN) / _DEVIATION).transpose(2, 0, 1), np.float32)


def find_names(settings: RamTagSettings) -> Sequence[str]:
    """Returns the tags of the weights. Raises `UsageError` if their file cannot be used."""
    return read_labels(settings).names


def check_settings(settings: RamTagSettings, _: OtherEngines) -> list[str]:
    """Checks the checkpoint's names and shapes, and the files of labels, before a run. Raises `UsageError`."""
    check_checkpoint(find_checkpoint(settings.weights), len(read_labels(settings).names))
    return []


ENGINE = EngineDeclaration(
    name="ram",
    kind=TAGS,
    settings=RamTagSettings,
    make=RamTags,
    extra="train",
    check=check_settings,
    vocabulary=find_names,
    restricted_settings=("weights", "vocabulary", "thresholds"),
)
