"""Captions images with a model of the trainer, greedily: the same image and prompt always give the same caption."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from curation.engines.batch_fitter import PassSize
from curation.engines.captions.local_model import answer_in_passes, make_answer
from curation.engines.kinds import CaptionAnswer, CaptionRequest
from curation.engines.weights import hash_files, hash_weights
from schemas.errors import UsageError, to_one_line
from schemas.records.fingerprint import EngineFingerprint
from training.captions.settings import ShardloomSettings
from training.captions.weights import CONFIGURATION_FILES, EXPORT
from training.data.chat import ChatTemplate
from training.inference import build_chat_prompt, build_document_prompt, move_to_device
from training.model.generate import Answer, GenerateOptions, Prompt, answer_batch
from training.model.pretrained import load_pretrained, read_prompts
from training.model.tiles import DecodedImage


class ShardloomCaptioner:
    """Implements `CaptionEngine`."""

    def __init__(self, settings: ShardloomSettings, folder: Path) -> None:
        """Loads the model. Raises `UsageError` if it is damaged, or knows no conversations and is asked for one."""
        self.settings = settings
        self.device, _ = EXPORT.resolve_device(settings.device, "fp32")
        torch.set_num_threads(settings.threads)
        model, self._tokenizer = load_pretrained(folder)
        self._prompts = read_prompts(folder)
        self._closing: Sequence[int] = ()
        if settings.chat:
            if self._prompts.template_fault is not None:
                raise EXPORT.unfit_error(f"{folder} was trained on no conversations; pass chat=false")
            self._closing = ChatTemplate.from_prompts(self._tokenizer, self._prompts).find_closing("assistant")
        self._model = move_to_device(model, self.device)
        self._options = GenerateOptions(max_new_tokens=settings.max_new_tokens)
        self.pass_size = PassSize(settings.images_per_pass or (32 if self.device == "cuda" else 1), "image")
        self.fingerprint = EngineFingerprint(
            name="shardloom",
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in ("transformers", "torch")),
            weights_sha256=hash_weights(folder),
            settings=settings.model_dump(exclude={"weights"})
            | {
                "device": self.device,
                "precision": "bf16" if self.device == "cuda" else "fp32",
                "images_per_pass": self.pass_size.size,
                "configuration": hash_files(folder, CONFIGURATION_FILES),
            },
        )

    def annotate(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        """Returns the captions, in the order of the requests. A prompt that is too long has the status `error`."""
        return answer_in_passes(self._answer_pass, requests, self.pass_size)

    def _answer_pass(self, requests: Sequence[CaptionRequest]) -> list[CaptionAnswer]:
        prompts = [self._build_prompt(request) for request in requests]
        try:
            answers = answer_batch(self._model, self._tokenizer, prompts, self._options, self._closing)
        except UsageError as error:  # of the longest prompt, or of an empty one; nothing is computed yet
            if len(requests) == 1:
                return [CaptionAnswer(requests[0].id, "", "error", detail=to_one_line(error))]
            return [answer for request in requests for answer in self._answer_pass([request])]
        return [_to_caption(request, answer) for request, answer in zip(requests, answers, strict=True)]

    def _build_prompt(self, request: CaptionRequest) -> Prompt:
        """Returns the prompt as the model's training formats it, the image first."""
        parts: list[str | int | DecodedImage] = [request.prompt]
        if request.image is not None:
            size = (request.image.shape[1], request.image.shape[0])
            parts.insert(0, DecodedImage(request.image, size, size))
        build = build_chat_prompt if self.settings.chat else build_document_prompt
        return build(parts, self._tokenizer, self._prompts)


def _to_caption(request: CaptionRequest, answer: Answer) -> CaptionAnswer:
    counts = {"prompt_tokens": answer.prompt_tokens, "tokens": answer.tokens}
    return make_answer(request, answer.text, is_complete=answer.is_complete, **counts)
