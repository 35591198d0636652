"""Formats prompts as a user's turn by the chat template of a model, and turns them into its inputs.

A prompt holds text of the web, so the names of special tokens in it are text: no alt text can end the turn, or stand
for an image.
"""

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
        """Loads them. Raises `UsageError` for a folder without a chat template, and for an unfit tokenizer."""
        from transformers import AutoProcessor, AutoTokenizer

        self._settings = settings
        # The backend is fixed, since images are resized differently by that of torchvision.
        options = {"backend": "pil"} if settings.send_image else {}
        self._processor = TRANSFORMERS.load(
            folder, AutoProcessor if settings.send_image else AutoTokenizer, trust_remote_code=False, **options
        )
        self._tokenizer = getattr(self._processor, "tokenizer", self._processor)
        self._template = getattr(self._processor, "chat_template", None) or self._tokenizer.chat_template
        if not isinstance(self._template, str):
            raise TRANSFORMERS.unfit_error(f"{folder} has no chat template; pass a model that is trained to answer")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        self._tokenizer.padding_side = "left"
        self.pad: int = self._tokenizer.pad_token_id
        self.end: int | None = self._tokenizer.eos_token_id
        processor = getattr(self._processor, "image_processor", None)
        self.image_processor_name = type(processor).__name__ if processor is not None else None
        self._template = self._add_bos(self._template)
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
            sanitize_control_tokens=True,
            **options,
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, without special ones."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _build_conversation(self, request: CaptionRequest) -> list[dict[str, Any]]:
        if not self._settings.send_image or request.image is None:
            return [{"role": "user", "content": request.prompt}]
        image = reduce_image(request.image, self._settings.image_side)
        return [
            {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": request.prompt}]}
        ]

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

    def _add_bos(self, template: str) -> str:
        """Returns the template with a BOS before it, where the processor would add one to what it writes."""
        bos = self._tokenizer.bos_token
        if not self._settings.send_image or bos is None:
            return template
        plain = self._tokenizer("a", add_special_tokens=False).input_ids
        if self._tokenizer("a").input_ids != [self._tokenizer.bos_token_id, *plain]:
            return template
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}]
        text = self._processor.apply_chat_template(turn, chat_template=template, add_generation_prompt=True)
        return template if text.startswith(bos) else f"{{{{ bos_token }}}}{template}"
