"""Finds, checks and loads checkpoints of RAM and RAM++, as their authors published them.

A checkpoint is a file of `torch.save` whose entry `model` has the tensors under the names of the published code. It is
read with `weights_only=True`, which runs no code of the file, and mapped into memory, because the files also hold the
optimizer's state. Tensors that tagging does not need are left out: RAM's captioner, and what is computed from sizes.

torch and transformers, which take seconds to import, are imported only where a checkpoint is read.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.engines.weights import WeightsFormat
from schemas.errors import to_one_line

if TYPE_CHECKING:
    from torch import Tensor

    from curation.engines.tags.runtime.ram import RamModel, RamSizes

DESCRIPTIONS = 51
"""The text embeddings of each tag in RAM++: of its name, and of 50 descriptions by a language model."""

RAM = WeightsFormat(
    engine="ram",
    required_files="ram_plus_swin_large_14m.pth or ram_swin_large_14m.pth",
    download_patterns=(),
    source="its authors publish them, see docs/data.md",
)

_NEEDED = ("visual_encoder.", "image_proj.", "label_embed", "reweight_scale", "wordvec_proj.", "tagging_head.", "fc.")
_COMPUTED = (".relative_position_index", ".attn_mask")
_RENAMES = {
    "visual_encoder.patch_embed.proj.": "visual_encoder.embeddings.patch_embeddings.projection.",
    "visual_encoder.patch_embed.norm.": "visual_encoder.embeddings.norm.",
    "visual_encoder.layers.": "visual_encoder.encoder.layers.",
    "visual_encoder.norm.": "visual_encoder.layernorm.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.o_proj.",
    ".attn.relative_position_bias_table": ".attention.relative_position_bias.relative_position_bias_table",
    "tagging_head.encoder.layer.": "tagging_head.",
}
_FUSED = ".attn.qkv."  # queries, keys and values in one tensor, in this order
_SPLIT = tuple(f".attention.{name}_proj." for name in "qkv")
_EARLIER_HEAD = "vision_multi."  # an earlier name of the tagging head, which the published code accepts
_TABLE = re.compile(
    r"visual_encoder\.encoder\.layers\.(\d+)\.blocks\.\d+\.attention\.relative_position_bias\."
    r"relative_position_bias_table"
)
_HEAD_LAYER = re.compile(r"tagging_head\.\d+\.intermediate\.dense\.weight")


def find_checkpoint(weights: str | None) -> Path:
    """Returns the path of the checkpoint, which may be named by its folder. Raises `UsageError`."""
    if weights is None:
        raise RAM.unfit_error(f"Shardloom ships no weights; {RAM.advice}")
    path = Path(weights)
    if path.is_dir():
        found = sorted(path.glob("[!.]*.pth"))
        if len(found) != 1:
            raise RAM.unfit_error(
                f"{path} holds {len(found)} files *.pth; pass weights=FILE, one of {RAM.required_files}"
            )
        return found[0]
    if not path.is_file():
        raise RAM.unfit_error(f"no file {path}; pass weights=FILE, {RAM.required_files}")
    return path


def check_checkpoint(path: Path, tags: int) -> None:
    """Raises `UsageError` for a checkpoint that is damaged, of another model or for another number of tags.

    It reads names and shapes, and compares them with those of a model on the meta device.
    """
    _check_tensors(path, _read_tensors(path), tags)


def load_model(path: Path, tags: int) -> "RamModel":
    """Returns the model in float32 on the CPU. Raises `UsageError` as `check_checkpoint` does."""
    from curation.engines.tags.runtime.ram import RamModel

    tensors = _read_tensors(path)
    model = RamModel(_check_tensors(path, tensors, tags))
    model.load_state_dict({name: tensors[name] for name in model.state_dict()})  # copies, and converts half precision
    return model.eval()


def rename_tensors(published: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Returns those of a checkpoint's tensors that tagging needs, by the names of `RamModel`."""
    renamed: dict[str, Tensor] = {}
    for published_name, tensor in published.items():
        name = published_name.replace(_EARLIER_HEAD, "tagging_head.")
        if not name.startswith(_NEEDED) or name.endswith(_COMPUTED):
            continue
        for old, new in _RENAMES.items():
            name = name.replace(old, new)
        if _FUSED in name:
            renamed |= {name.replace(_FUSED, new): part for new, part in zip(_SPLIT, tensor.chunk(3), strict=True)}
        else:
            renamed[name] = tensor
    return renamed


def _read_tensors(path: Path) -> dict[str, Any]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # noqa: BLE001  torch raises any exception on damaged files
        reason = to_one_line(error, 200, with_type=True)
        raise RAM.unfit_error(f"cannot read {path}: {reason}; fetch it again, or pass another file") from None
    tensors = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict) or not all(torch.is_tensor(tensor) for tensor in tensors.values()):
        raise RAM.unfit_error(f"{path} holds no tensors under 'model'; {RAM.advice}")
    return rename_tensors(tensors)


def _check_tensors(path: Path, tensors: Mapping[str, Any], tags: int) -> "RamSizes":
    """Returns the sizes of the checkpoint. Raises for a tensor that is missing or of another shape."""
    import torch

    from curation.engines.tags.runtime.ram import RamModel

    sizes = read_sizes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if sizes is None:
        raise RAM.unfit_error(f"{path} holds another model than RAM or RAM++; {RAM.advice}")
    if sizes.labels != tags:
        raise RAM.unfit_error(
            f"{path} has {sizes.labels} tags, and the vocabulary {tags}; pass vocabulary=FILE with the tags of the "
            "weights"
        )
    with torch.device("meta"):
        expected = RamModel(sizes).state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            raise RAM.unfit_error(f"{path} lacks the tensor {name}; fetch it again, or pass another file")
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
            raise RAM.unfit_error(f"{path}: the shape of {name} is {shapes}; pass another file")
    return sizes


def read_sizes(shapes: Mapping[str, tuple[int, ...]]) -> "RamSizes | None":
    """Returns the sizes that the shapes tell, or None for shapes of another model."""
    from curation.engines.tags.runtime.ram import RamSizes

    tables = {int(found[1]): shapes[found[0]] for found in map(_TABLE.fullmatch, shapes) if found}
    depths = Counter(int(found[1]) for found in map(_TABLE.fullmatch, shapes) if found)
    layers = sum(_HEAD_LAYER.fullmatch(name) is not None for name in shapes)
    try:
        rows, text_width = shapes["label_embed"]
        head_width, _ = shapes["wordvec_proj.weight"]
        descriptions = DESCRIPTIONS if "reweight_scale" in shapes else None
        return RamSizes(
            depths=tuple(depths[stage] for stage in sorted(depths)),
            heads=tuple(tables[stage][1] for stage in sorted(tables)),
            window=(math.isqrt(tables[0][0]) + 1) // 2,
            embed_dim=shapes["visual_encoder.embeddings.patch_embeddings.projection.weight"][0],
            text_width=text_width,
            labels=rows // (descriptions or 1),
            descriptions=descriptions,
            head_layers=layers,
            head_width=head_width,
            head_intermediate=shapes["tagging_head.0.intermediate.dense.weight"][0],
        )
    except (KeyError, ValueError, IndexError):
        return None
