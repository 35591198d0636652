"""Formats prompts as a user's turn by the chat template of a model, and turns them into its inputs.

A prompt holds text of the web. A name of a special token in it gets a space behind its first letter, so that no alt
text can end the turn or stand for an image. (`sanitize_control_tokens` of transformers 5.23 would do it by the token,
but Idefics3 and Gemma 3 count the images in the text, and fail.)
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.engines.captions.runtime.pictures import reduce_image
from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.captions.transformers_weights import TRANSFORMERS
from curation.engines.kinds import CaptionRequest
from schemas.errors import to_one_line


class ChatFormatter:
    """Holds the tokenizer of a model, and its image processor where images are sent."""

    def __init__(self, folder: Path, settings: TransformersSettings) -> None:
        """Loads them. Raises `UsageError` for a folder without a chat template, and for one that can't be used."""
        self._settings = settings
        self._processor = _load_processor(folder, settings.send_image)
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        template = getattr(self._processor, "chat_template", None) or self._tokenizer.chat_template
        if not isinstance(template, str):
            raise TRANSFORMERS.unfit_error(f"{folder} has no chat template; pass a model that is trained to answer")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        self._tokenizer.padding_side = "left"
        self._template = template
        self._names = _compile_names(self._processor, self._tokenizer)
        self.pad: int = self._tokenizer.pad_token_id
        self.end: int | None = self._tokenizer.eos_token_id
        processor = getattr(self._processor, "image_processor", None)
        self.image_processor_name = type(processor).__name__ if processor is not None else None
        self._try_template(folder)

    def build_inputs(self, requests: Sequence[CaptionRequest]) -> Any:
        """Returns the model's inputs, padded on the left. Raises `ValueError` for images that the processor refuses."""
        padding = {"padding": True}
        options = {"processor_kwargs": padding} if self._settings.send_image else padding
        return self._processor.apply_chat_template(
            [self._build_conversation(request) for request in requests],
            chat_template=self._template,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            **options,
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, without special ones."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _build_conversation(self, request: CaptionRequest) -> list[dict[str, Any]]:
        prompt = self._names.sub(lambda name: f"{name[0][0]} {name[0][1:]}", request.prompt)
        if not self._settings.send_image or request.image is None:
            return [{"role": "user", "content": prompt}]
        image = reduce_image(request.image, self._settings.image_side)
        return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}]}]

    def _try_template(self, folder: Path) -> None:
        """Raises `UsageError` where no prompt can be formatted, so that the run does not fail on each image."""
        image = np.full((64, 64, 3), 128, np.uint8) if self._settings.send_image else None
        try:
            self.build_inputs([CaptionRequest("", "a", image)])
        except Exception as error:  # noqa: BLE001  templates and processors raise anything
            raise TRANSFORMERS.unfit_error(
                f"cannot format a prompt by the chat template of {folder}: {to_one_line(error, with_type=True)}; "
                "pass another folder"
            ) from None


def _load_processor(folder: Path, reads_images: bool) -> Any:
    """Returns the processor, which prepares images by Pillow where it can, or the tokenizer alone.

    torchvision, where it is installed, would resize images otherwise: captions would depend on it.
    """
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    if not reads_images:
        return TRANSFORMERS.load(folder, AutoTokenizer, trust_remote_code=False)
    processor = TRANSFORMERS.load(folder, AutoProcessor, trust_remote_code=False)
    # Not an option of AutoProcessor, which would pass it to the processor of videos too, and that has no such backend.
    processor.image_processor = TRANSFORMERS.load(folder, AutoImageProcessor, trust_remote_code=False, backend="pil")
    return processor


def _compile_names(processor: Any, tokenizer: Any) -> re.Pattern[str]:
    """Returns a pattern of the names of all special tokens, the longest first."""
    names = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    names |= {value for name, value in vars(processor).items() if name.endswith("_token") and isinstance(value, str)}
    ordered = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
