"""Makes the demo detector's configuration, tokenizer, image processor and initial weights."""

import json
from pathlib import Path

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from curation.demo_detector.vocabulary import LABELS, build_wordpieces

STRIDES = (8, 16)  # of the feature maps, the last two stages of the backbone

_PRIOR = 4.0  # logits start this far below zero, because nearly every place shows nothing that the prompt names


def build_configuration() -> GroundingDinoConfig:
    """Returns the configuration: 2.8 million parameters, LayerNorm throughout, a Swin of three stages for 80 pixels."""
    return GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=48,
            depths=(2, 2, 2),
            num_heads=(2, 4, 8),
            window_size=5,
            drop_path_rate=0.0,
            out_features=["stage2", "stage3"],  # type: ignore[call-arg]
        ),
        text_config=BertConfig(
            vocab_size=len(build_wordpieces()),
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=256,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        num_queries=32,
        d_model=128,
        num_feature_levels=2,
        encoder_layers=2,
        encoder_ffn_dim=256,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=256,
        decoder_attention_heads=4,
        dropout=0.0,
        fusion_droppath=0.0,
    )


def build_tokenizer() -> BertTokenizer:
    """Returns the tokenizer of the detector's few words."""
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(build_wordpieces())})


def build_processor() -> GroundingDinoImageProcessorPil:
    """Returns the image processor, which gives sides of 80 to 112 pixels and values of -2 to 2."""
    return GroundingDinoImageProcessorPil(
        size={"shortest_edge": 80, "longest_edge": 112}, image_mean=[0.5, 0.5, 0.5], image_std=[0.25, 0.25, 0.25]
    )


def build_detector(seed: int) -> GroundingDinoForObjectDetection:
    """Returns a model with random weights of a scale that trains; transformers' own are meant to be overwritten."""
    torch.manual_seed(seed)
    model = GroundingDinoForObjectDetection(build_configuration())
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and not name.endswith(
                ("sampling_offsets", "attention_weights")
            ):
                nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        # Padding is 0, and a LayerNorm's gradient at a vector of equal values is unbounded.
        nn.init.normal_(
            model.model.backbone.conv_encoder.model.swin.embeddings.patch_embeddings.projection.bias, std=0.1
        )
        for head in (model.model.encoder_output_bbox_embed, *model.bbox_embed):
            head.layers[-1].weight.zero_()
        model.model.encoder_output_bbox_embed.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 1.5, 1.5]))
        # The class logit is a bare dot product. Features leave a LayerNorm with mean 0, so equal and opposite constants
        # in its bias add a constant to every logit and nothing else.
        words = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
        words.weight.fill_(0.1)
        shift = (_PRIOR / words.bias.numel()) ** 0.5
        words.bias.fill_(shift)
        for places in (model.model.enc_output_norm, model.model.decoder.layer_norm):
            places.bias.fill_(-shift)
    return model


def save(model: GroundingDinoForObjectDetection, folder: Path) -> None:
    """Writes all files that loading needs, and the list of known words. The model card is written by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in build_wordpieces()), encoding="utf-8")
    build_processor().save_pretrained(folder)
    (folder / "demonstration.json").write_text(json.dumps({"words": LABELS}, indent=1) + "\n", encoding="utf-8")
