"""Builds RAM and RAM++ (Recognize Anything, arXiv 2306.03514 and 2310.15200) from transformers' Swin and BERT parts.

An image's tokens are the mean of its patches and the patches of the last Swin stage, projected to the width of the text
embeddings. Each label is a query of the tagging head: layers of BERT with cross-attention to the image and no
self-attention, so that a label's logit does not depend on the other labels. RAM has one text embedding for each label.
RAM++ has several, of descriptions of the label, and weighs them by their similarity to the image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig, SwinConfig, SwinModel
from transformers.models.bert.modeling_bert import BertAttention, BertIntermediate, BertOutput

_PATCH_SIDE = 4  # pixels
_HEADS = 4  # of the tagging head, in the published configuration
_EPSILON = 1e-12  # of the tagging head's layer norms, likewise


@dataclass(frozen=True, slots=True)
class RamSizes:
    """Holds the sizes of a checkpoint that its tensors' shapes tell."""

    depths: tuple[int, ...]  # of the Swin stages, in blocks
    heads: tuple[int, ...]  # of the Swin stages
    window: int  # side of a Swin window, in patches
    embed_dim: int  # width of the first Swin stage, which doubles with each stage
    text_width: int
    labels: int
    descriptions: int | None  # for each label, in RAM++; None in RAM
    head_layers: int
    head_width: int
    head_intermediate: int

    @property
    def image_side(self) -> int:
        """Returns the side of the input in pixels: in all published configurations, the last stage is one window."""
        return _PATCH_SIDE * self.window << (len(self.depths) - 1)


class RamModel(nn.Module):
    """Computes a logit for each label of each image."""

    def __init__(self, sizes: RamSizes) -> None:
        super().__init__()
        swin = SwinConfig(
            image_size=sizes.image_side,
            patch_size=_PATCH_SIDE,
            embed_dim=sizes.embed_dim,
            depths=sizes.depths,
            num_heads=sizes.heads,
            window_size=sizes.window,
        )
        bert = BertConfig(
            hidden_size=sizes.head_width,
            num_attention_heads=_HEADS,
            intermediate_size=sizes.head_intermediate,
            layer_norm_eps=_EPSILON,
        )
        bert._attn_implementation = "sdpa"  # as `from_pretrained` sets it; Swin has it by default
        self.image_side = sizes.image_side
        self.visual_encoder = SwinModel(swin, add_pooling_layer=False)
        self.image_proj = nn.Linear(self.visual_encoder.num_features, sizes.text_width)
        self.label_embed = nn.Parameter(torch.empty(sizes.labels * (sizes.descriptions or 1), sizes.text_width))
        self.reweight_scale = nn.Parameter(torch.empty(())) if sizes.descriptions else None
        self.descriptions = sizes.descriptions or 1
        self.wordvec_proj = nn.Linear(sizes.text_width, sizes.head_width)
        self.tagging_head = nn.ModuleList(_HeadLayer(bert, sizes.text_width) for _ in range(sizes.head_layers))
        self.fc = nn.Linear(sizes.head_width, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the logits, images x labels, for normalised pixels, images x 3 x side x side."""
        patches = self.visual_encoder(pixel_values=pixels).last_hidden_state
        image = self.image_proj(torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1))
        states = torch.relu(self.wordvec_proj(self._embed_labels(image[:, 0]))).expand(len(image), -1, -1)
        for layer in self.tagging_head:
            states = layer(states, image)
        logits: Tensor = self.fc(states).squeeze(-1)
        return logits

    def _embed_labels(self, pooled: Tensor) -> Tensor:
        """Returns the labels' text embeddings: 1 x labels x width, or images x labels x width in RAM++.

        It computes in the embeddings' precision, because `reweight_scale` magnifies the rounding of a similarity.
        """
        if self.reweight_scale is None:
            return self.label_embed.unsqueeze(0)
        with torch.autocast(pooled.device.type, enabled=False):
            direction = nn.functional.normalize(pooled.to(self.label_embed.dtype), dim=-1)
            similarities = self.reweight_scale.exp() * direction @ self.label_embed.T
            weights = similarities.view(len(pooled), -1, self.descriptions).softmax(dim=-1)
            described = self.label_embed.view(-1, self.descriptions, self.label_embed.shape[1])
            return torch.einsum("ild,ldw->ilw", weights, described)


class _HeadLayer(nn.Module):
    """Implements one layer of BERT without self-attention, whose keys and values have the width of the text."""

    def __init__(self, config: BertConfig, text_width: int) -> None:
        super().__init__()
        self.crossattention = BertAttention(config, is_cross_attention=True)  # type: ignore[no-untyped-call]
        for name in ("key", "value"):  # transformers takes them to be as wide as the queries
            setattr(self.crossattention.self, name, nn.Linear(text_width, config.hidden_size))
        self.intermediate = BertIntermediate(config)  # type: ignore[no-untyped-call]
        self.output = BertOutput(config)  # type: ignore[no-untyped-call]

    def forward(self, labels: Tensor, image: Tensor) -> Tensor:
        states, _ = self.crossattention(labels, encoder_hidden_states=image)
        output: Tensor = self.output(self.intermediate(states), states)
        return output
