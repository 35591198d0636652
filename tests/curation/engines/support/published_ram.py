"""The names and shapes in a checkpoint of RAM or RAM++, by rule from the published code, and tiny checkpoints."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

TEXT_WIDTH = 512
DESCRIPTIONS = 51
PIXELS_A_PATCH = 4

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class PublishedRam:
    """By default, the configuration of ram_swin_large_14m.pth and ram_plus_swin_large_14m.pth."""

    plus: bool
    side: int = 384
    window: int = 12
    embed_dim: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (6, 12, 24, 48)
    head_layers: int = 2
    head_width: int = 768
    head_intermediate: int = 3072
    labels: int = 4585
    captioner_layers: int = 12
    words: int = 30524
    positions: int = 512

    def shapes(self) -> Shapes:
        """All tensors of the checkpoint's `model`, buffers too."""
        width, rows = self.head_width, self.labels * (DESCRIPTIONS if self.plus else 1)
        shapes = {"label_embed": (rows, TEXT_WIDTH)}
        if self.plus:
            shapes["reweight_scale"] = ()
        shapes |= self._swin()
        shapes |= linear("image_proj", TEXT_WIDTH, self.embed_dim * 8) | linear("wordvec_proj", width, TEXT_WIDTH)
        shapes |= linear("fc", 1, width)
        shapes |= self._bert_layers("tagging_head", self.head_layers, ("crossattention",), TEXT_WIDTH)
        return shapes if self.plus else shapes | self._captioner()

    def _swin(self) -> Shapes:
        first, window = self.embed_dim, self.window
        shapes: Shapes = {"visual_encoder.patch_embed.proj.weight": (first, 3, PIXELS_A_PATCH, PIXELS_A_PATCH)}
        shapes |= {"visual_encoder.patch_embed.proj.bias": (first,)} | norm("visual_encoder.patch_embed.norm", first)
        for stage, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            width, side = first * 2**stage, self.side // PIXELS_A_PATCH // 2**stage
            name = f"visual_encoder.layers.{stage}"
            for block in (f"{name}.blocks.{number}" for number in range(depth)):
                shapes |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
                shapes[f"{block}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads)
                shapes[f"{block}.attn.relative_position_index"] = (window**2, window**2)
                shapes |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
                shapes |= linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
                if side > window and int(block.rpartition(".")[2]) % 2:  # the windows are shifted
                    shapes[f"{block}.attn_mask"] = ((side // window) ** 2, window**2, window**2)
            if stage < len(self.depths) - 1:
                shapes[f"{name}.downsample.reduction.weight"] = (2 * width, 4 * width)
                shapes |= norm(f"{name}.downsample.norm", 4 * width)
        return shapes | norm("visual_encoder.norm", first * 8)

    def _bert_layers(self, name: str, layers: int, attentions: tuple[str, ...], key_width: int) -> Shapes:
        shapes: Shapes = {}
        width = self.head_width
        for layer in (f"{name}.encoder.layer.{number}" for number in range(layers)):
            for attention in attentions:
                entering = width if attention == "attention" else key_width
                shapes |= linear(f"{layer}.{attention}.self.query", width, width)
                shapes |= linear(f"{layer}.{attention}.self.key", width, entering)
                shapes |= linear(f"{layer}.{attention}.self.value", width, entering)
                shapes |= linear(f"{layer}.{attention}.output.dense", width, width)
                shapes |= norm(f"{layer}.{attention}.output.LayerNorm", width)
            shapes |= linear(f"{layer}.intermediate.dense", self.head_intermediate, width)
            shapes |= linear(f"{layer}.output.dense", width, self.head_intermediate)
            shapes |= norm(f"{layer}.output.LayerNorm", width)
        return shapes

    def _captioner(self) -> Shapes:
        """Of RAM alone; tagging does without it."""
        shapes: Shapes = {}
        for name, key_width in (("tag_encoder", TEXT_WIDTH), ("text_decoder.bert", 768)):
            shapes[f"{name}.embeddings.position_ids"] = (1, self.positions)
            shapes[f"{name}.embeddings.word_embeddings.weight"] = (self.words, self.head_width)
            shapes[f"{name}.embeddings.position_embeddings.weight"] = (self.positions, self.head_width)
            shapes |= norm(f"{name}.embeddings.LayerNorm", self.head_width)
            shapes |= self._bert_layers(name, self.captioner_layers, ("attention", "crossattention"), key_width)
        last = "text_decoder.cls.predictions"
        shapes |= linear(f"{last}.transform.dense", self.head_width, self.head_width)
        shapes |= norm(f"{last}.transform.LayerNorm", self.head_width)
        return shapes | linear(f"{last}.decoder", self.words, self.head_width) | {f"{last}.bias": (self.words,)}


def linear(name: str, out: int, entering: int) -> Shapes:
    return {f"{name}.weight": (out, entering), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def tiny(plus: bool) -> PublishedRam:
    """The published architecture with the windows of its configuration for 224 pixels, and few of everything."""
    small = {"embed_dim": 8, "depths": (2, 2, 2, 2), "heads": (1, 2, 2, 4), "head_width": 16, "head_intermediate": 32}
    few = {"labels": 5, "captioner_layers": 2, "words": 30, "positions": 8}
    return PublishedRam(plus, side=224, window=7, **small, **few)  # type: ignore[arg-type]


def make_tensors(model: PublishedRam) -> dict[str, torch.Tensor]:
    """Random tensors that depend on their names and shapes alone."""
    return {name: torch.from_numpy(_draw(name, shape)) for name, shape in model.shapes().items()}


def _draw(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal(shape)
    if name == "reweight_scale":
        drawn = np.log(1 / 0.07)  # as it is before training
    elif "norm" in name.lower() and name.endswith("weight"):
        drawn = 1 + drawn / 5
    elif name != "label_embed":
        drawn = drawn / 4
    return np.asarray(drawn, np.float32)


def save_checkpoint(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """As the published training code saves it, with more than the model."""
    torch.save({"model": tensors, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-5}]}, "epoch": 4}, path)
    return path
