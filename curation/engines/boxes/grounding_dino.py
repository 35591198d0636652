"""Finds boxes with the Grounding DINO of transformers, for Grounding DINO's or MM-Grounding-DINO's weights.

Images share a forward pass only if they have equal sizes as the network's input. Padding them to one size, as the
published processor does, changes boxes although the padding is masked, because the backbone's windows and the group
norms behind it see it (random weights, 96 x 128 padded to 128 x 128: boxes differ by up to 0.97). Padding of prompts is
masked throughout, and costs a rounding error of 1e-5 at most.

The names of a prompt influence each other through the image's features, so the division of names into prompts changes
scores slightly. The division depends only on the names, their order and `max_tokens`, and each prompt's boxes do not
depend on other prompts.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.engines.batch_fitter import PassSize
from curation.engines.boxes.demonstration import check_demonstration
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import (
    GROUNDING_DINO,
    Detector,
    fetch_weights,
    hash_configuration,
    load_detector,
    resolve_weights_folder,
)
from curation.engines.boxes.prompts import Prompt, build_name_tokenizer, is_name_token, label_box, pack_prompts
from curation.engines.boxes.suppression import apply_nms, keep_well_formed
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES
from curation.engines.weights import hash_weights
from curation.images.decode import RgbImage
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint

_PIXELS_A_QUERY = 4096 / 85  # the four levels hold 1/64 + 1/256 + 1/1024 + 1/4096 proposals a pixel


@dataclass(frozen=True, slots=True)
class _PromptedImage:
    """Holds one prompt for one image (its number in the batch). `size` is height and width of the network's input."""

    size: tuple[int, int]
    image: int
    prompt: Prompt


class GroundingDino:
    """Implements `BoxEngine` with transformers' model."""

    name = "grounding_dino"
    packages: tuple[str, ...] = ("transformers", "torch", "pillow")  # their versions are part of the fingerprint

    def __init__(self, settings: GroundingDinoSettings | None = None) -> None:
        """Loads the weights. Raises `UsageError` for weights that are missing or unfit, and for a missing device."""
        import torch

        self.settings = settings or GroundingDinoSettings()
        folder = resolve_weights_folder(self.settings.weights, self.settings.allow_download)
        self.device, self.precision = GROUNDING_DINO.resolve_device(self.settings.device, self.settings.precision)
        torch.set_num_threads(self.settings.threads)
        self.pass_size = PassSize(self.settings.rows_per_pass, "prompt")  # smaller where the GPU's memory is full
        detector = self._load(folder)
        self._model = detector.model.to(self.device)
        self._image_processor = detector.image_processor
        self._decode = detector.tokenizer.decode
        self._tokens = build_name_tokenizer(detector.tokenizer)
        self._max_tokens = min(self.settings.max_tokens, self._model.config.max_text_len)
        # Positions restart with each name.
        self._max_name_tokens = self._model.config.text_config.max_position_embeddings - 1
        self.fingerprint = EngineFingerprint(
            name=self.name,
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in self.packages),
            weights_sha256=hash_weights(folder),
            # The path of the weights, and what the user allows, do not change which boxes they find.
            settings=self.settings.model_dump(exclude={"weights", "allow_download", "allow_out_of_vocabulary"})
            | {"device": self.device, "precision": self.precision, "configuration": hash_configuration(folder)},
        )

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns where each image shows the things with these names, highest score first, one list for each image.

        Names without a known token are not found; of names with the same tokens only the first is. Raises `ValueError`
        for a name that no prompt can hold, and `RuntimeError` for boxes that are not finite.
        """
        rows = [
            _PromptedImage(self._compute_size(image), number, prompt)
            for number, (image, wanted) in enumerate(zip(images, names, strict=True))
            for prompt in pack_prompts(wanted, self._tokens, self._max_tokens, self._max_name_tokens)
        ]
        found: list[list[Detection]] = [[] for _ in images]
        for row, probabilities, boxes in self._run_network(images, rows):
            found[row.image] += self._build_detections(row.prompt, probabilities, boxes)
        return [apply_nms(one, self.settings.nms_iou) for one in found]

    def _load(self, folder: Path) -> Detector:
        return load_detector(folder)

    def _compute_size(self, image: RgbImage) -> tuple[int, int]:
        return compute_network_size(
            (image.shape[0], image.shape[1]),
            self._image_processor,
            self.settings.side_step,
            self._model.config.num_queries,
        )

    def _run_network(
        self, images: Sequence[RgbImage], rows: Sequence[_PromptedImage]
    ) -> Iterator[tuple[_PromptedImage, NDArray[np.float32], NDArray[np.float32]]]:
        """Yields each row, token probabilities (queries x tokens) and boxes (queries x 4: centre, width, height)."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            most = self.pass_size.size
            by_size = sorted(rows, key=lambda row: (row.size, row.image))
            for size, same in groupby(by_size, key=lambda row: row.size):
                pixels = functools.lru_cache(most)(functools.partial(self._preprocess, images, size))
                group = list(same)
                for start in range(0, len(group), most):
                    chosen = group[start : start + most]
                    stacked = torch.stack([pixels(row.image) for row in chosen]).to(self.device)
                    yield from zip(chosen, *self._forward(stacked, [row.prompt for row in chosen]), strict=True)

    def _preprocess(self, images: Sequence[RgbImage], size: tuple[int, int], number: int) -> Any:
        prepared = self._image_processor(
            images=[images[number]],
            size={"height": size[0], "width": size[1]},
            do_resize=True,
            do_pad=False,
            input_data_format="channels_last",  # else guessed, wrongly for a picture three pixels high
            return_tensors="pt",
        )
        return prepared["pixel_values"][0]

    def _forward(
        self, pixels: Any, prompts: Sequence[Prompt]
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        import torch

        lengths = [len(prompt.ids) for prompt in prompts]
        padding = [[0] * (max(lengths) - length) for length in lengths]
        ids = torch.tensor([[*prompt.ids, *zeros] for prompt, zeros in zip(prompts, padding, strict=True)])
        mask = torch.tensor([[1] * length + zeros for length, zeros in zip(lengths, padding, strict=True)])
        output = self._model(pixel_values=pixels, input_ids=ids.to(self.device), attention_mask=mask.to(self.device))
        logits, boxes = output.logits.float().cpu(), output.pred_boxes.float().cpu()
        for row, length in enumerate(lengths):
            if not (boxes[row].isfinite().all() and logits[row, :, :length].isfinite().all()):
                raise RuntimeError(f"non-finite boxes or scores in {self.precision} on {self.device}")
        probabilities = logits.sigmoid().numpy()
        return [probabilities[row, :, :length] for row, length in enumerate(lengths)], list(boxes.numpy())

    def _build_detections(
        self, prompt: Prompt, probabilities: NDArray[np.float32], boxes: NDArray[np.float32]
    ) -> list[Detection]:
        """Returns one prompt's boxes above the thresholds, in image shares, without degenerate and oversized ones."""
        best = probabilities[:, is_name_token(prompt)].max(axis=1)
        found = []
        for query in np.flatnonzero(best > self.settings.box_threshold):
            named = label_box(prompt, probabilities[query], self.settings.text_threshold)
            if named is not None:
                x, y, width, height = boxes[query]
                corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
                x1, y1, x2, y2 = corners.clip(0, 1).tolist()
                phrase = self._decode(list(named.phrase))
                found.append(Detection(named.label, phrase, (x1, y1, x2, y2), named.score))
        return keep_well_formed(found, self.settings.min_side, self.settings.max_area)


def compute_network_size(size: tuple[int, int], image_processor: Any, side_step: int, queries: int) -> tuple[int, int]:
    """Returns the height and width to which the network's input is resized, for the height and width of a picture.

    It follows the rule of the weights' image processor, except for strips: one thinner than about 1 : 40 would have
    fewer places than the network has queries, and none at all beyond 1 : 2666. Strips are widened until they have
    enough places.
    """
    from transformers.image_transforms import get_size_with_aspect_ratio

    wanted = image_processor.size
    if image_processor.do_resize and wanted.height and wanted.width:
        size = (wanted.height, wanted.width)
    elif image_processor.do_resize:
        size = get_size_with_aspect_ratio(size, wanted.shortest_edge, wanted.longest_edge)
    height, width = (max(side_step, round(side / side_step) * side_step) for side in size)
    least = int(queries * _PIXELS_A_QUERY / max(height, width)) + 1
    return max(height, least), max(width, least)


ENGINE = EngineDeclaration(
    name="grounding_dino",
    kind=BOXES,
    settings=GroundingDinoSettings,
    make=GroundingDino,
    extra="train",
    check=check_demonstration,
    fetch=fetch_weights,
    restricted_settings=("weights", "allow_download"),
    is_default=True,
)
