"""Boxes by Grounding DINO as transformers has it, of its own or MM-Grounding-DINO's weights.

Images share a forward pass only where their sizes, as the network sees them, are equal. Padding them to one size, as
the published processor does, alters boxes although the padding is masked: the backbone's windows and the group norms
behind it see it (random weights, 96 x 128 padded to 128 x 128: boxes off by up to 0.97). Padding of prompts is masked
throughout, and costs a rounding error of 1e-5 at most.

The names of a prompt see each other through the image's features, so how names are split over prompts alters scores a
little. The split is a function of the names, their order and `max_tokens` alone: each prompt's boxes are those that it
gives on its own.
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

from curation.engines.boxes.demonstration import check_demonstration
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import (
    GROUNDING_DINO,
    Detector,
    configuration_sha256,
    load_detector,
    weights_folder,
)
from curation.engines.boxes.prompts import Prompt, ground, is_name_token, name_tokens, pack
from curation.engines.boxes.suppression import suppressed, well_formed
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES
from curation.engines.weights import weights_sha256
from curation.images.decode import RgbImage
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint

_PIXELS_A_QUERY = 4096 / 85  # the four levels hold 1/64 + 1/256 + 1/1024 + 1/4096 proposals a pixel


@dataclass(frozen=True, slots=True)
class _Row:
    """One prompt for one image (its number in the batch). `size` is height and width as the network sees it."""

    size: tuple[int, int]
    image: int
    prompt: Prompt


class GroundingDino:
    """A `BoxEngine`."""

    name = "grounding_dino"
    packages: tuple[str, ...] = ("transformers", "torch", "pillow")  # whose versions tell one engine from another

    def __init__(self, settings: GroundingDinoSettings | None = None) -> None:
        """Loads the weights. Raises `UsageError` for weights that are missing or unfit, and an absent device."""
        import torch

        self.settings = settings or GroundingDinoSettings()
        folder = weights_folder(self.settings.weights, self.settings.allow_download)
        self.device, self.precision = GROUNDING_DINO.resolved(self.settings.device, self.settings.precision)
        torch.set_num_threads(self.settings.threads)
        detector = self._load(folder)
        self._model = detector.model.to(self.device)
        self._image_processor = detector.image_processor
        self._decode = detector.tokenizer.decode
        self._tokens = name_tokens(detector.tokenizer)
        self._max_tokens = min(self.settings.max_tokens, self._model.config.max_text_len)
        self._max_name_tokens = self._model.config.text_config.max_position_embeddings - 1  # counted anew for each name
        self.fingerprint = EngineFingerprint(
            name=self.name,
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in self.packages),
            weights_sha256=weights_sha256(folder),
            # Where weights lie and whether they may be fetched or tried on all words is no part of what they find.
            settings=self.settings.model_dump(exclude={"weights", "allow_download", "allow_out_of_vocabulary"})
            | {"device": self.device, "precision": self.precision, "configuration": configuration_sha256(folder)},
        )

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Where each image shows the things of these names, the surest first, one list an image.

        Names of which the vocabulary knows nothing are not found; of those that are the same to it, the first is.
        Raises `ValueError` for a name that no prompt can hold, `RuntimeError` for boxes that are not finite.
        """
        rows = [
            _Row(self._size(image), number, prompt)
            for number, (image, wanted) in enumerate(zip(images, names, strict=True))
            for prompt in pack(wanted, self._tokens, self._max_tokens, self._max_name_tokens)
        ]
        found: list[list[Detection]] = [[] for _ in images]
        for row, probabilities, boxes in self._outputs(images, rows):
            found[row.image] += self._detections(row.prompt, probabilities, boxes)
        return [suppressed(one, self.settings.nms_iou) for one in found]

    def _load(self, folder: Path) -> Detector:
        return load_detector(folder)

    def _size(self, image: RgbImage) -> tuple[int, int]:
        return network_size(
            (image.shape[0], image.shape[1]),
            self._image_processor,
            self.settings.side_step,
            self._model.config.num_queries,
        )

    def _outputs(
        self, images: Sequence[RgbImage], rows: Sequence[_Row]
    ) -> Iterator[tuple[_Row, NDArray[np.float32], NDArray[np.float32]]]:
        """Each row with its token probabilities (queries x tokens) and boxes (queries x 4: centre, width, height)."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            by_size = sorted(rows, key=lambda row: (row.size, row.image))
            for size, same in groupby(by_size, key=lambda row: row.size):
                pixels = functools.lru_cache(self.settings.rows_per_pass)(functools.partial(self._pixels, images, size))
                group = list(same)
                for start in range(0, len(group), self.settings.rows_per_pass):
                    chosen = group[start : start + self.settings.rows_per_pass]
                    stacked = torch.stack([pixels(row.image) for row in chosen]).to(self.device)
                    yield from zip(chosen, *self._forward(stacked, [row.prompt for row in chosen]), strict=True)

    def _pixels(self, images: Sequence[RgbImage], size: tuple[int, int], number: int) -> Any:
        prepared = self._image_processor(
            images=[images[number]],
            size={"height": size[0], "width": size[1]},
            do_resize=True,
            do_pad=False,
            input_data_format="channels_last",  # else guessed, and wrongly for a picture three pixels high
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

    def _detections(
        self, prompt: Prompt, probabilities: NDArray[np.float32], boxes: NDArray[np.float32]
    ) -> list[Detection]:
        """One prompt's boxes above the thresholds, as parts of the image, less those that are no boxes."""
        best = probabilities[:, is_name_token(prompt)].max(axis=1)
        found = []
        for query in np.flatnonzero(best > self.settings.box_threshold):
            named = ground(prompt, probabilities[query], self.settings.text_threshold)
            if named is not None:
                x, y, width, height = boxes[query]
                corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
                x1, y1, x2, y2 = corners.clip(0, 1).tolist()
                phrase = self._decode(list(named.phrase))
                found.append(Detection(named.label, phrase, (x1, y1, x2, y2), named.score))
        return well_formed(found, self.settings.min_side, self.settings.max_area)


def network_size(size: tuple[int, int], image_processor: Any, side_step: int, queries: int) -> tuple[int, int]:
    """Height and width to which the network's image is resized, of those of a picture.

    By the rule of the weights' image processor, except for strips: one thinner than 1 : 40 or so would have fewer
    places than the network has queries, and none at all beyond 1 : 2666. They are widened to what it takes.
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
    outside=("weights", "allow_download"),
    is_default=True,
)
