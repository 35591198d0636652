"""Tags a picture with SigLIP, by how well each entry of a vocabulary describes it.

SigLIP scores each pair of picture and text independently (a sigmoid), so a tag's score does not depend on the rest of
the vocabulary. `prepare` computes the texts' embeddings once for each run; all workers share them and drop the text
half of the model. Shardloom ships no weights: the quality of the scores depends on the user's weights.

torch and transformers, which take seconds to import, are imported only where weights are loaded.
"""

import string
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.engines.batch_fitter import PassSize
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import TAGS, TagEngine
from curation.engines.tags.caption import make_caption_tags
from curation.engines.tags.caption_settings import CaptionTagSettings
from curation.engines.tags.siglip_settings import SiglipTagSettings
from curation.engines.tags.siglip_weights import (
    SIGLIP,
    check_prompt_lengths,
    check_prompts,
    check_weights,
    hash_configuration,
    load_model,
    resolve_weights_folder,
)
from curation.engines.tags.vocabulary import read_vocabulary
from curation.engines.weights import hash_weights
from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag

_TEXTS_PER_PASS = 64
_EXCLUDED_SETTINGS = {"weights", "allow_download", "vocabulary"}  # the paths of files do not identify them


class SiglipTags:
    """Implements `TagEngine`: the caption's mentions come first, in their order, then the picture's tags by score."""

    @staticmethod
    def prepare(settings: SiglipTagSettings) -> NDArray[np.float32]:
        """Returns the embeddings of the vocabulary's prompts, names x width, of length 1. Raises as the constructor.

        On one thread of a CPU, a base model takes 0.13 s for each prompt: seven minutes for the vocabulary that ships.
        """
        folder = resolve_weights_folder(settings)
        device, _ = SIGLIP.resolve_device(settings.device, settings.precision)
        names = read_vocabulary(settings.vocabulary).names
        return _embed_texts(load_model(folder, settings.threads, device), folder, settings.prompt, names)

    def __init__(self, settings: SiglipTagSettings | None = None, prepared: NDArray[np.float32] | None = None) -> None:
        """Loads the weights, and embeds the vocabulary unless `prepared` holds the result of `prepare` for them.

        Raises `UsageError` for weights or a vocabulary that are missing or unfit, and for a missing device.
        """
        import torch
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        self.settings = settings or SiglipTagSettings()
        folder = resolve_weights_folder(self.settings)
        self.vocabulary = read_vocabulary(self.settings.vocabulary)
        self.device, self.precision = SIGLIP.resolve_device(self.settings.device, self.settings.precision)
        self.images_per_pass = self.settings.images_per_pass or (32 if self.device == "cuda" else 1)
        self.pass_size = PassSize(self.images_per_pass, "image")  # smaller where the GPU's memory is full
        self._captions: TagEngine | None = None
        if self.settings.caption:
            self._captions = make_caption_tags(CaptionTagSettings(vocabulary=self.settings.vocabulary))
        self.fingerprint = self._build_fingerprint(folder)
        self._model = load_model(folder, self.settings.threads, self.device)
        # The class without "Pil" needs torchvision.
        self._image_processor = SIGLIP.load(folder, SiglipImageProcessorPil)
        if prepared is None:
            prepared = _embed_texts(self._model, folder, self.settings.prompt, self.vocabulary.names)
        if prepared.shape != (len(self.vocabulary.names), self._model.config.text_config.projection_size):
            raise ValueError(f"prepared is {prepared.shape}, not of these weights and this vocabulary")
        self._texts = torch.tensor(prepared, device=self.device)
        del self._model.text_model  # half of the model, and no longer needed

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """Returns the tags of each image and its alt text. Raises `RuntimeError` for scores that are not finite."""
        mentions = self._captions.annotate(images, captions) if self._captions else [[] for _ in images]
        seen = [self._select_tags(scores) for scores in self.score_images(images)]
        return [of_caption + of_image for of_caption, of_image in zip(mentions, seen, strict=True)]

    def score_images(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns how well each entry describes each image, 0 to 1, images x names."""
        step = self.pass_size.size
        passes = [self._score_pass(images[start : start + step]) for start in range(0, len(images), step)]
        return np.concatenate(passes or [np.empty((0, len(self._texts)), np.float32)])

    def _score_pass(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        import torch

        pixels = self._image_processor(
            images=list(images),
            input_data_format="channels_last",  # else guessed, wrongly for a picture three pixels high
            return_tensors="pt",
        )["pixel_values"]
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
                features = self._model.get_image_features(pixel_values=pixels.to(self.device)).pooler_output
            logits = _l2_normalise(features) @ self._texts.T * self._model.logit_scale.exp() + self._model.logit_bias
            if not logits.isfinite().all():
                raise RuntimeError(f"siglip: non-finite scores in {self.precision} on {self.device}")
            return np.asarray(logits.sigmoid().cpu().numpy(), np.float32)

    def _select_tags(self, scores: NDArray[np.float32]) -> list[Tag]:
        found = [(-float(scores[n]), self.vocabulary.names[n]) for n in np.flatnonzero(scores >= self.settings.floor)]
        return [Tag(name, -minus_score, "image") for minus_score, name in sorted(found)[: self.settings.max_tags]]

    def _build_fingerprint(self, folder: Path) -> EngineFingerprint:
        libraries = ["transformers", "torch", "pillow"]
        if self._captions:
            libraries += ["pyahocorasick", "lemminflect"]
        return EngineFingerprint(
            name="siglip",
            version=", ".join(f"{name} {version(name).split('+')[0]}" for name in libraries),
            weights_sha256=hash_weights(folder),
            settings=self.settings.model_dump(exclude=_EXCLUDED_SETTINGS)
            | {
                "device": self.device,
                "precision": self.precision,
                "images_per_pass": self.images_per_pass,
                "vocabulary": self.vocabulary.sha256,
                "configuration": hash_configuration(folder),
            },
        )


def _embed_texts(model: Any, folder: Path, prompt: str, names: Sequence[str]) -> NDArray[np.float32]:
    """Returns the embeddings of the prompts in fp32, names x width, each of length 1."""
    import torch
    from transformers import PreTrainedTokenizerFast

    tokenizer = SIGLIP.load(folder, PreTrainedTokenizerFast)  # SigLIP's own class needs sentencepiece
    config = model.config.text_config
    if len(tokenizer) > config.vocab_size or tokenizer.pad_token is None:
        raise SIGLIP.unfit_error(f"the tokenizer in {folder} does not fit the model or cannot pad; pass another folder")
    texts = _build_prompts(prompt, names, folder)
    ids = tokenizer(texts, padding="max_length", max_length=config.max_position_embeddings).input_ids
    check_prompt_lengths(names, list(map(len, ids)), config.max_position_embeddings)
    with torch.inference_mode():
        passes = [
            # No attention mask: the model was trained without one, and reads the padding too.
            model.get_text_features(input_ids=torch.tensor(ids[start : start + _TEXTS_PER_PASS]).to(model.device))
            for start in range(0, len(ids), _TEXTS_PER_PASS)
        ]
    return np.asarray(torch.cat([_l2_normalise(one.pooler_output) for one in passes]).cpu().numpy(), np.float32)


def _build_prompts(prompt: str, names: Sequence[str], folder: Path) -> list[str]:
    """Returns the names' prompts, normalised as SigLIP's tokenizer does (lower case, no punctuation) or SigLIP 2's.

    SigLIP 2's makes them lower case alone. A tokenizer.json need not do it, and doing it twice does no harm.
    """
    kind = SIGLIP.read_json(folder, "tokenizer_config.json").get("tokenizer_class")
    texts = [prompt.replace("{}", name).lower() for name in names]
    if str(kind).startswith("SiglipTokenizer"):
        texts = [text.translate(str.maketrans("", "", string.punctuation)) for text in texts]
    return [" ".join(text.split()) for text in texts]


def _l2_normalise(features: Any) -> Any:
    """Scales features to length 1, in fp32 whatever the model computes in."""
    return features.float() / features.float().norm(dim=-1, keepdim=True)


def find_names(settings: SiglipTagSettings) -> Sequence[str]:
    """Returns the names in the vocabulary. Raises `UsageError` if it cannot be used."""
    return read_vocabulary(settings.vocabulary).names


def check_settings(settings: SiglipTagSettings, _: OtherEngines) -> list[str]:
    """Checks the weights, and the prompts of all tags, before a run. Raises `UsageError`."""
    folder = check_weights(settings)
    if folder is not None:
        names = find_names(settings)
        check_prompts(folder, names, _build_prompts(settings.prompt, names, folder))
    return []


ENGINE = EngineDeclaration(
    name="siglip",
    kind=TAGS,
    settings=SiglipTagSettings,
    make=SiglipTags,
    extra="train",
    check=check_settings,
    fetch=resolve_weights_folder,
    prepare=SiglipTags.prepare,
    vocabulary=find_names,
    restricted_settings=("weights", "allow_download", "vocabulary"),
)
