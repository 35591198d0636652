"""A tiny SigLIP with random weights, saved as published ones are."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

NAMES = ("dog", "T-Shirt", "hot dog", "wine glass", "tree")
PROMPTS = [f"this is a photo of {name}" for name in ("dog", "tshirt", "hot dog", "wine glass", "tree")]
WORDS = ("</s>", "<unk>", *dict.fromkeys(" ".join(PROMPTS).split()), "T", "Shirt", "-", ".", "This")


def save_tiny_siglip(folder: Path) -> None:
    """Sixteen wide, two layers, pictures of 32 pixels, eight tokens; logits that spread over both sides of zero."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 8, "pad_token_id": 0, "eos_token_id": 0}
    vision = {"image_size": 32, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config=sizes | text, vision_config=sizes | vision)).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.6)
        model.logit_scale.fill_(3.4)
        model.logit_bias.fill_(2.0)
    model.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    set_json(folder / "tokenizer_config.json", tokenizer_class="SiglipTokenizer")


def set_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
