"""Captions images with a model of the transformers library, greedily: the same image and prompt give the same caption.

The prompts of a pass are padded on the left, so that all of them end, and continue, at the same position. The model's
own generation settings are not used: a penalty of repeated tokens, for one, would count the padding as well.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from curation.engines.batch_fitter import PassSize
from curation.engines.captions.local_model import answer_in_passes, make_answer
from curation.engines.captions.runtime.chats import ChatFormatter
from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.captions.transformers_weights import TRANSFORMERS, hash_configuration
from curation.engines.kinds import CaptionAnswer, CaptionRequest
from curation.engines.weights import hash_weights
from schemas.errors import to_one_line
from schemas.records.fingerprint import EngineFingerprint

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TransformersCaptioner:
    """Implements `CaptionEngine`."""

    def __init__(self, settings: TransformersSettings, folder: Path) -> None:
        """Loads the model. Raises `UsageError` for weights that are unfit, and for a missing device."""
        self.settings = settings
        self.device, self.precision = TRANSFORMERS.resolve_device(settings.device, settings.precision)
        torch.set_num_threads(settings.threads)
        self._chats = ChatFormatter(folder, settings)
        model = TRANSFORMERS.load_model(folder, _find_architecture(folder, settings), _DTYPES[self.precision])
        self._model = model.to(self.device).eval()
        self._limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._ends = _list_end_tokens(self._model, self._chats)
        self._model.generation_config = self._make_greedy_settings()
        self.pass_size = PassSize(settings.images_per_pass or (16 if self.device == "cuda" else 1), "image")
        self.fingerprint = EngineFingerprint(
            name="transformers",
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in ("transformers", "torch", "pillow")),
            weights_sha256=hash_weights(folder),
            settings=settings.model_dump(exclude={"weights", "allow_download"})
            | {
                "device": self.device,
                "precision": self.precision,
                "images_per_pass": self.pass_size.size,
                "image_processor": self._chats.image_processor_name,
                "configuration": hash_configuration(folder),
            },
        )

    def annotate(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        """Returns the captions, in the order of the requests. A prompt that is too long has the status `error`."""
        return answer_in_passes(self._answer_pass, requests, self.pass_size)

    def _answer_pass(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        try:
            inputs = self._chats.build_inputs(requests)
            lengths = inputs["attention_mask"].sum(dim=1).tolist()
            self._check_length(max(lengths))
        except ValueError as error:  # of one of them: too long, or an image that the processor refuses
            if len(requests) == 1:
                detail = to_one_line(error, with_type=type(error) is not ValueError)
                return [CaptionAnswer(requests[0].id, "", "error", detail=detail)]
            return [answer for request in requests for answer in self._answer_pass([request])]
        tokens = self._generate(inputs)
        return [self._build_answer(*row) for row in zip(requests, lengths, tokens, strict=True)]

    def _check_length(self, prompt_tokens: int) -> None:
        """Raises `ValueError` for a prompt of so many tokens that with its answer it exceeds the model's limit."""
        limit, new = self._limit, self.settings.max_new_tokens
        if limit is not None and prompt_tokens + new > limit:
            raise ValueError(
                f"a prompt of {prompt_tokens} tokens and {new} new ones exceed the model's limit of {limit}; shorten "
                "the prompt, or pass a lower max_new_tokens"
            )

    def _make_greedy_settings(self) -> Any:
        from transformers import GenerationConfig

        return GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.settings.max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._chats.pad,
            suppress_tokens=getattr(self._model.generation_config, "suppress_tokens", None),
        )

    def _generate(self, inputs: Any) -> list[list[int]]:
        """Returns the new tokens of each row, with padding behind those that ended early."""
        inputs = inputs.to(self.device)
        floats = {
            name: value.to(self._model.dtype)
            for name, value in inputs.items()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        }
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            tokens = self._model.generate(**{**inputs, **floats})
        found: list[list[int]] = tokens[:, inputs["input_ids"].shape[1] :].tolist()
        return found

    def _build_answer(self, request: CaptionRequest, prompt_tokens: int, tokens: list[int]) -> CaptionAnswer:
        end = next((place for place, token in enumerate(tokens) if token in self._ends), None)
        said = tokens if end is None else tokens[: end + 1]
        text, is_complete = self._chats.decode(said), end is not None
        return make_answer(request, text, is_complete=is_complete, prompt_tokens=prompt_tokens, tokens=len(said))


def _find_architecture(folder: Path, settings: TransformersSettings) -> Any:
    """Returns the class of transformers that loads the model. Raises `UsageError` for a model that does not fit."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    config = TRANSFORMERS.load(folder, AutoConfig, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise TRANSFORMERS.unfit_error(f"{folder} holds a {config.model_type}, which is an encoder with a decoder")
    if not settings.send_image and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    takes = "takes no images; pass send_image=false, or another folder" if settings.send_image else "writes no text"
    raise TRANSFORMERS.unfit_error(f"{folder} holds a {config.model_type}, which {takes}")


def _list_end_tokens(model: Any, chats: ChatFormatter) -> list[int]:
    """Returns the tokens that end an answer: those of the model's generation settings, and the tokenizer's."""
    named = model.generation_config.eos_token_id
    ends = [named] if isinstance(named, int) else list(named or ())
    return list(dict.fromkeys(ends + ([] if chats.end is None else [chats.end])))
