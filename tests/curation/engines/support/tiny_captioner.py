"""Tiny models with random weights that answer prompts, saved as published ones are."""

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

SPECIAL = ("<s>", "</s>", "<pad>", "<image>", "<|user|>", "<|assistant|>")
BOS, EOS, PAD, IMAGE = range(256, 260)
FIRST_OWN = 256 + len(SPECIAL)  # of the special tokens of one model
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": 280, "max_position_embeddings": 256, "eos_token_id": EOS, "bos_token_id": BOS}
VISION = {**SIZES, "image_size": 16, "patch_size": 8, "projection_dim": 16}
TOKENS_OF_IMAGE = 4
CHAT_TEMPLATE = (
    "<s>{% for message in messages %}<|{{ message['role'] }}|>{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def save_tiny_llava(folder: Path, chat_template: str | None = CHAT_TEMPLATE) -> None:
    """A LLaVA of four tokens an image, two layers and one token a byte."""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION),
        text_config=LlamaConfig(**TEXT),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
    )
    _save(LlavaForConditionalGeneration(config), folder)
    side = {"height": 16, "width": 16}
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=side, crop_size=side),
        _make_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template,
    )
    processor.save_pretrained(folder)


def save_tiny_gemma(folder: Path) -> None:
    """A Gemma 3, with a sliding window that the padding would shift, and images that attend in both directions."""
    words = _make_tokenizer("<boi>", "<eoi>")
    config = Gemma3Config(
        text_config={**TEXT, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 16}
        | {"layer_types": ["sliding_attention", "full_attention"]},
        vision_config={**VISION, "image_size": 32},
        mm_tokens_per_image=TOKENS_OF_IMAGE,
        image_token_index=IMAGE,
        boi_token_index=FIRST_OWN,
        eoi_token_index=FIRST_OWN + 1,
    )
    _save(Gemma3ForConditionalGeneration(config), folder)
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    template = CHAT_TEMPLATE.replace("<image>", "<boi>")
    Gemma3Processor(images, words, image_seq_length=TOKENS_OF_IMAGE, chat_template=template).save_pretrained(folder)


def save_tiny_idefics(folder: Path) -> None:
    """An Idefics 3, whose images are cut into tiles, fewer for some images of a batch."""
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    words = _make_tokenizer("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *rows)
    config = Idefics3Config(
        vision_config={**VISION, "image_size": 32},
        text_config=LlamaConfig(**TEXT),
        image_token_id=IMAGE,
        scale_factor=2,
        pad_token_id=PAD,
    )
    _save(Idefics3ForConditionalGeneration(config), folder)
    images = Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    Idefics3Processor(images, words, image_seq_len=4, chat_template=CHAT_TEMPLATE).save_pretrained(folder)


def save_tiny_llama(folder: Path) -> None:
    """A language model of the same tokens."""
    _save(LlamaForCausalLM(LlamaConfig(**TEXT)), folder)
    tokenizer = _make_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)


def set_generation(folder: Path, **settings: object) -> None:
    """Changes the settings of generation that the model's author has stored."""
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _save(model: PreTrainedModel, folder: Path) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.3)
    model.eval().save_pretrained(folder)


def _make_tokenizer(*own: str) -> PreTrainedTokenizerFast:
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in (*SPECIAL, *own)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"}
        | {f"{name[1:-1]}_token": name for name in own if name in ("<boi>", "<eoi>")},
    )
