"""Converts the tensor names of Grounding DINO from transformers to its authors' package, `groundingdino`.

The tensors are the same, except for most attention layers outside BERT: where transformers has separate tensors for
query, key and value, the package has one that concatenates them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Tensor = TypeVar("Tensor")

_RENAMES = [
    (re.compile(pattern), to)
    for pattern, to in (
        (
            r"^model\.backbone\.conv_encoder\.model\.(?:swin\.)?embeddings\.patch_embeddings\.projection",
            "backbone.0.patch_embed.proj",
        ),
        (r"^model\.backbone\.conv_encoder\.model\.(?:swin\.)?embeddings\.norm", "backbone.0.patch_embed.norm"),
        (r"^model\.backbone\.conv_encoder\.model\.(?:swin\.)?encoder\.layers\.", "backbone.0.layers."),
        (r"^model\.backbone\.conv_encoder\.model\.hidden_states_norms\.stage(\d+)", r"backbone.0.norm{\1}"),
        (r"^(backbone\.0\..*)\.layernorm_before", r"\1.norm1"),
        (r"^(backbone\.0\..*)\.layernorm_after", r"\1.norm2"),
        (r"^(backbone\.0\..*)\.attention\.self\.", r"\1.attn."),
        (r"^(backbone\.0\..*)\.attention\.output\.dense", r"\1.attn.proj"),
        (r"^(backbone\.0\..*)\.intermediate\.dense", r"\1.mlp.fc1"),
        (r"^(backbone\.0\..*)\.output\.dense", r"\1.mlp.fc2"),
        (r"^model\.text_backbone\.", "bert."),
        (r"^model\.text_projection\.", "feat_map."),
        (r"^model\.input_proj_vision\.", "input_proj."),
        (r"^model\.query_position_embeddings\.", "transformer.tgt_embed."),
        (r"^model\.encoder_output_bbox_embed\.", "transformer.enc_out_bbox_embed."),
        (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"transformer.encoder.layers.\1."),
        (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.", r"transformer.encoder.text_layers.\1."),
        (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"transformer.encoder.fusion_layers.\1."),
        (r"^(transformer\.encoder\.layers\..*)self_attn_layer_norm", r"\1norm1"),
        (r"^(transformer\.encoder\.layers\..*)final_layer_norm", r"\1norm2"),
        (r"^(transformer\.encoder\.text_layers\..*)layer_norm_before", r"\1norm1"),
        (r"^(transformer\.encoder\.text_layers\..*)layer_norm_after", r"\1norm2"),
        (r"^(transformer\.encoder\.fusion_layers\..*)vision_param", r"\1gamma_v"),
        (r"^(transformer\.encoder\.fusion_layers\..*)text_param", r"\1gamma_l"),
        (r"^(transformer\.encoder\.fusion_layers\..*)layer_norm_vision", r"\1layer_norm_v"),
        (r"^(transformer\.encoder\.fusion_layers\..*)layer_norm_text", r"\1layer_norm_l"),
        (r"^(transformer\.encoder\.fusion_layers\..*)vision_proj", r"\1v_proj"),
        (r"^(transformer\.encoder\.fusion_layers\..*)text_proj", r"\1l_proj"),
        (r"^model\.decoder\.", "transformer.decoder."),
        (r"^model\.(level_embed|enc_output)", r"transformer.\1"),
        (r"^(transformer\.decoder\.)layer_norm\.", r"\1norm."),
        (r"^(transformer\.decoder\.)reference_points_head\.", r"\1ref_point_head."),
        (r"^(transformer\.decoder\.layers\.\d+\.)encoder_attn_text_layer_norm", r"\1catext_norm"),
        (r"^(transformer\.decoder\.layers\.\d+\.)encoder_attn_layer_norm", r"\1norm1"),
        (r"^(transformer\.decoder\.layers\.\d+\.)self_attn_layer_norm", r"\1norm2"),
        (r"^(transformer\.decoder\.layers\.\d+\.)final_layer_norm", r"\1norm3"),
        (r"^(transformer\.decoder\.layers\.\d+\.)encoder_attn_text\.", r"\1ca_text."),
        (r"^(transformer\.decoder\.layers\.\d+\.)encoder_attn\.", r"\1cross_attn."),
        (r"^(transformer\..*)fc([12])\.", r"\1linear\2."),
    )
]
_UNUSED = re.compile(r"\.(?:swin\.)?layernorm\.(?:weight|bias)$|position_ids$|relative_position_index$")
_PROJECTION = re.compile(r"(.*)\.(query|key|value)\.(weight|bias)$")


def rename_tensors(
    tensors: Mapping[str, Tensor], concatenate: Callable[[Sequence[Tensor]], Tensor]
) -> dict[str, Tensor]:
    """Returns the tensors under the package's names; `concatenate` joins three tensors along the first dimension."""
    renamed: dict[str, Tensor] = {}
    projections: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if _UNUSED.search(name) and not name.startswith("model.text_backbone.embeddings.LayerNorm"):
            continue
        to = _rename(name)
        match = None if to.startswith("bert.") else _PROJECTION.fullmatch(to)
        if match is None:
            renamed[to] = tensor
            continue
        module, which, kind = match.groups()
        whole = f"{module}.qkv.{kind}" if module.startswith("backbone.") else f"{module}.in_proj_{kind}"
        projections.setdefault(whole, {})[which] = tensor
    return renamed | {
        name: concatenate([triple[which] for which in ("query", "key", "value")])
        for name, triple in projections.items()
    }


def _rename(name: str) -> str:
    for pattern, to in _RENAMES:
        name = pattern.sub(to, name)
    # transformers numbers the stages from 1, the package their norms from 0
    return re.sub(r"\{(\d+)\}", lambda stage: str(int(stage[1]) - 1), name)
