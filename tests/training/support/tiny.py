"""Models and tokenizers that are small enough to train in a test, and a tokenizer as large as Phi-3's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor

from training.batch import IGNORE_INDEX, PADDING, Batch, SampleName
from training.model.config import ModelOptions

ROLES = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]

END, PAD, IMAGE = 256, 261, 262  # of `write_tokenizer`
Sample = list[str | int | Tensor]
"""Texts, ids and images."""

VISION = {
    "image_size": 56,
    "patch_size": 14,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
CONNECTOR = {"kind": "perceiver", "depth": 1, "heads": 2, "head_dim": 16, "latents": 4}
TOKENS_PER_TILE = 4
CONNECTORS: dict[str, dict[str, Any]] = {
    "perceiver": CONNECTOR,
    "linear": {"pool_side": 2},
    "mlp": {"pool_side": 2},
    "average_pool": {"side": 2},
    "attention_pool": {"queries": 4, "heads": 2, "head_dim": 16},
    "c_abstractor": {"side": 2, "depth": 1, "hidden": 32},
    "ldp": {},
    "ldpv2": {"side": 2},
    "xdp": {},
    "instruction_aware": CONNECTOR | {"kind": "instruction_aware", "max_instruction": 8},
}
"""Of each kind one that makes as many tokens of a tile as `CONNECTOR`."""
MODES: dict[str, dict[str, Any]] = {
    "clip": {"vision": {"config": VISION | {"model_type": "clip_vision_model"}, "feature_layer": -2}},
    "padded": {"any_resolution": {"fixed": "pad"}},
    "per_tile": {"any_resolution": {"enabled": True}},
    "fixed_sampling": {"any_resolution": {"enabled": True, "fixed_sampling": True}},
    "sub_images": {
        "vision": {"config": VISION, "image_size": 84},
        "any_resolution": {"enabled": True, "grids": [[2, 2]], "canvas": "squash"},
    },
    "language": {"vision": None},
}
"""Of each way in which a model takes images, or none, one; as changes of `options`."""
PHI3 = {
    "model_type": "phi3",
    "vocab_size": 272,  # more rows than tokens, as Phi-3 itself
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 256,
    "pad_token_id": None,
}


def write_tokenizer(folder: Path, special: Sequence[str] = tuple(ROLES)) -> Path:
    """A tokenizer of bytes, ids as their values, 5 special tokens behind; so `<pad>` is 261 and `<image>` 262."""
    letters = [chr(byte) for byte in range(256) if chr(byte) in ByteLevel.alphabet()]
    others = iter(sorted(set(ByteLevel.alphabet()) - set(letters)))  # that stand for the bytes that aren't printed
    tokenizer = Tokenizer(BPE({(chr(n) if chr(n) in letters else next(others)): n for n in range(256)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken(role, normalized=False) for role in special])
    return _save(tokenizer, folder)


def write_phi3_tokenizer(folder: Path) -> Path:
    """As many tokens as Phi-3's 32011, the special ones in its places."""
    tokenizer = Tokenizer(BPE({f"piece {number}": number for number in range(32000)}, []))
    names = ["<|endoftext|>", "<|assistant|>", *(f"<|placeholder{n}|>" for n in (1, 2, 3, 4)), "<|system|>", "<|end|>"]
    tokenizer.add_special_tokens([*names, "<|placeholder5|>", "<|placeholder6|>", "<|user|>"])
    return _save(tokenizer, folder)


def options(tokenizer: Path, **changes: Any) -> ModelOptions:
    """A model of about 100,000 parameters; `changes` as in `ModelOptions`."""
    plain = {"vision": {"config": VISION}, "connector": CONNECTOR, "language": {"config": PHI3}}
    return ModelOptions.model_validate(plain | {"tokenizer": str(tokenizer)} | changes)


def connector(kind: str) -> dict[str, Any]:
    """The options of this kind of connector."""
    return {"kind": kind} | CONNECTORS[kind]


def picture(seed: int, tiles: int = 1) -> Tensor:
    """Tiles of an image, uint8 [tiles, 3, 56, 56], coarse enough for a tower that knows nothing."""
    coarse = torch.randint(0, 256, (tiles, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    return coarse.repeat_interleave(14, 2).repeat_interleave(14, 3).to(torch.uint8)


def pack(
    rows: list[list[Sample]], length: int | None = None, left: bool = False, fixed_sampling: bool = False
) -> Batch:
    """Sequences of samples, padded on the right to `length` (or on the left); each text token is to be predicted.

    Images of several tiles have the grid 1 x (tiles - 1).
    """
    tokens, segments, positions, images = [], [], [], []
    for samples in rows:
        row: list[int] = []
        which: list[int] = []
        where: list[int] = []
        for number, sample in enumerate(samples):
            ids: list[int] = []
            for part in sample:
                if isinstance(part, Tensor):
                    images.append(part)
                    ids += [IMAGE] * ((1 if fixed_sampling else len(part)) * TOKENS_PER_TILE)
                else:
                    ids += [part] if isinstance(part, int) else list(part.encode())
            row += ids
            which += [number] * len(ids)
            where += range(len(ids))
        tokens.append(row)
        segments.append(which)
        positions.append(where)
    length = length or max(len(row) for row in tokens)

    def padded(table: list[list[int]], value: int) -> Tensor:
        fill = [[value] * (length - len(row)) for row in table]
        return torch.tensor([f + row if left else row + f for f, row in zip(fill, table, strict=True)])

    ids, numbers = padded(tokens, PAD), padded(segments, PADDING)
    following = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=PAD)
    same = torch.nn.functional.pad(numbers[:, 1:] == numbers[:, :-1], (0, 1)) & (numbers != PADDING)
    tiles = torch.cat([torch.empty((0, 3, 56, 56), dtype=torch.uint8), *images])
    return Batch(
        tokens=ids,
        labels=following.where(same & (following != IMAGE), IGNORE_INDEX),
        positions=padded(positions, 0),
        segments=numbers,
        sources=numbers.clamp(max=0),
        instructions=(numbers == 0) & (ids < 256),  # the texts of each row's first sample
        tiles=tiles,
        valid=torch.ones((len(tiles), 16), dtype=torch.bool),
        grids=torch.tensor([[0, 0] if len(image) == 1 else [1, len(image) - 1] for image in images]).view(-1, 2),
        samples=tuple(
            tuple(SampleName("tiny", f"{row}.tar", str(number)) for number in range(len(samples)))
            for row, samples in enumerate(rows)
        ),
    )


def _save(tokenizer: Tokenizer, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
