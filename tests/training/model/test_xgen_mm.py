"""The released layouts, key by key and shape by shape, as LAVIS' modules name them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from schemas.errors import UsageError
from tests.training.model.test_lmm import SO400M
from tests.training.support import tiny
from training.model.config import VisionOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_model
from training.model.weights import list_own_keys
from training.model.xgen_mm import load_xgen_mm, map_to_released_key

Shapes = dict[str, tuple[int, ...]]


def siglip(width: int, inner: int, layers: int, cells: int) -> Shapes:
    """The keys of transformers' vision model of 2024, without a prefix: LAVIS takes `model.vision_model`."""

    def affine(name: str, out: int, into: int) -> Shapes:
        return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}

    def norm(name: str) -> Shapes:
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    shapes: Shapes = {
        "embeddings.patch_embedding.weight": (width, 3, 14, 14),
        "embeddings.patch_embedding.bias": (width,),
        "embeddings.position_embedding.weight": (cells, width),
        "head.probe": (1, 1, width),
        "head.attention.in_proj_weight": (3 * width, width),
        "head.attention.in_proj_bias": (3 * width,),
    }
    shapes |= norm("post_layernorm") | norm("head.layernorm") | affine("head.attention.out_proj", width, width)
    shapes |= affine("head.mlp.fc1", inner, width) | affine("head.mlp.fc2", width, inner)
    for layer in (f"encoder.layers.{number}" for number in range(layers)):
        for part in "qkv":
            shapes |= affine(f"{layer}.self_attn.{part}_proj", width, width)
        shapes |= affine(f"{layer}.self_attn.out_proj", width, width)
        shapes |= norm(f"{layer}.layer_norm1") | norm(f"{layer}.layer_norm2")
        shapes |= affine(f"{layer}.mlp.fc1", inner, width) | affine(f"{layer}.mlp.fc2", width, inner)
    return shapes


def perceiver(width: int, out: int, layers: int, inner: int, latents: int) -> Shapes:
    shapes: Shapes = {
        "latents": (latents, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "projection.weight": (out, width),
        "projection.bias": (out,),
    }
    for layer in (f"layers.{number}" for number in range(layers)):
        for norm in ("0.norm_media", "0.norm_latents", "1.0"):
            shapes |= {f"{layer}.{norm}.weight": (width,), f"{layer}.{norm}.bias": (width,)}
        shapes |= {
            f"{layer}.0.to_q.weight": (inner, width),
            f"{layer}.0.to_kv.weight": (2 * inner, width),
            f"{layer}.0.to_out.weight": (width, inner),
            f"{layer}.1.1.weight": (4 * width, width),
            f"{layer}.1.3.weight": (width, 4 * width),
        }
    return shapes


def phi3(width: int, inner: int, layers: int, rows: int) -> Shapes:
    """With the decoupled tables: three more embeddings, a bias of the head, and three more rows of it."""
    shapes: Shapes = {
        "model.embed_tokens.weight": (rows, width),
        "model.embed_tokens.additional_embedding.weight": (3, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (rows, width),
        "lm_head.bias": (rows,),
        "lm_head.additional_fc.weight": (3, width),
        "lm_head.additional_fc.bias": (3,),
    }
    for layer in (f"model.layers.{number}" for number in range(layers)):
        shapes |= {
            f"{layer}.self_attn.qkv_proj.weight": (3 * width, width),
            f"{layer}.self_attn.o_proj.weight": (width, width),
            f"{layer}.mlp.gate_up_proj.weight": (2 * inner, width),
            f"{layer}.mlp.down_proj.weight": (width, inner),
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.post_attention_layernorm.weight": (width,),
        }
    return shapes


def released(vision: Shapes, tokenizer: Shapes, language: Shapes) -> Shapes:
    parts = {"vision_encoder": vision, "vision_tokenizer": tokenizer, "lang_model": language}
    return {f"{part}.{key}": shape for part, shapes in parts.items() for key, shape in shapes.items()}


TINY = released(siglip(32, 64, 2, 16), perceiver(32, 64, 1, 32, 4), phi3(64, 128, 2, 272))


@pytest.fixture
def model(tmp_path: Path) -> ResamplerLMM:
    return build_model(tiny.options(tiny.write_tokenizer(tmp_path / "tokenizer")))


def random_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.rand(shape, generator=generator) for key, shape in TINY.items()}


def holds(model: ResamplerLMM, state: dict[str, Tensor]) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[key], state[map_to_released_key(key)]) for key in list_own_keys(model))


def test_the_whole_model_shape_by_shape(tmp_path: Path) -> None:
    options = tiny.options(
        tiny.write_phi3_tokenizer(tmp_path),
        vision={"config": SO400M},
        connector={},
        language={"config": {"model_type": "phi3"}},
    )
    model = build_model(options, "meta")
    expected = released(siglip(1152, 4304, 27, 729), perceiver(1152, 3072, 6, 1536, 128), phi3(3072, 8192, 32, 32064))
    assert len(expected) == 448 + 71 + 199
    assert sum(torch.Size(shape).numel() for shape in expected.values()) == 4_359_257_219
    state = model.state_dict()
    assert {map_to_released_key(key): tuple(state[key].shape) for key in list_own_keys(model)} == expected


@pytest.mark.parametrize("tower", ["vlm.vision_encoder.", "vlm.vision_encoder.vision_model."])
def test_a_folder_of_the_hub(model: ResamplerLMM, tmp_path: Path, tower: str) -> None:
    state = random_state()
    stored = {f"vlm.{key}".replace("vlm.vision_encoder.", tower): tensor for key, tensor in state.items()}
    stored["vlm.lang_model.model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(stored, tmp_path / "model.safetensors")
    load_xgen_mm(model, tmp_path)
    assert holds(model, state)
    (tmp_path / "config.json").write_text('{"model_type": "xgenmm"}')
    assert holds(build_model(model.options, weights=str(tmp_path)), state)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_of_the_trainer(model: ResamplerLMM, tmp_path: Path, wrapped: bool) -> None:
    """Without the tower, which is frozen there; the one that was loaded stays."""
    model.vision.model.save_pretrained(tmp_path / "tower")
    options = model.options.model_copy(update={"vision": VisionOptions(pretrained=str(tmp_path / "tower"))})
    tower = {
        map_to_released_key(key): tensor for key, tensor in model.state_dict().items() if key.startswith("vision.")
    }
    state = random_state()
    trained = {f"module.{key}": tensor for key, tensor in state.items() if key not in tower}
    content = {"epoch": 0, "model_state_dict": trained, "optimizer_state_dict": {}} if wrapped else trained
    path = tmp_path / "checkpoint_4999.pt"
    torch.save(content, path)
    assert holds(build_model(options, weights=str(path)), state | tower)
    with pytest.raises(
        UsageError, match=r"checkpoint_4999\.pt lacks 48 tensors, vision\.model\.embeddings\.patch_embedd"
    ):
        build_model(model.options, weights=str(path))  # with a tower of random weights it would be another model
    torch.save({"model_state_dict": state}, path)  # as the converter meant to write it
    assert holds(build_model(model.options, weights=str(path)), state)


def test_missing_and_left_over(model: ResamplerLMM, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    state = random_state()
    for content, message in (
        (
            {key: tensor for key, tensor in state.items() if key != "vision_tokenizer.norm.bias"},
            r"^model: .*checkpoint\.pt lacks 1 tensors, connector\.norm\.bias for example; pass complete weights$",
        ),
        (
            {key: tensor for key, tensor in state.items() if not key.startswith("vision_encoder.head.")},
            r"^model: .*checkpoint\.pt lacks 11 tensors, vision\.model\.head\.attention\.in_proj_bias for example; ",
        ),
        (
            state | {"image_newline": torch.zeros(64)},
            r"^model: .*checkpoint\.pt has image_newline, which this model does not have; pass fitting weights$",
        ),
        (
            state | {"vision_tokenizer.latents": torch.zeros(8, 32)},
            r"^model: connector\.latents is \[8, 32\], here \[4, 32\] in .*checkpoint\.pt; pass fitting weights$",
        ),
        (
            {"epoch": 3},
            r"^xgen-mm: epoch of .*checkpoint\.pt is not a tensor; pass a folder of safetensors, or a check",
        ),
        ([1], r"^xgen-mm: cannot read .*checkpoint\.pt: AttributeError: "),
    ):
        torch.save(content, path)
        with pytest.raises(UsageError, match=message):
            load_xgen_mm(model, path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UsageError, match=r"^xgen-mm: cannot read .*checkpoint\.pt: "):
        load_xgen_mm(model, path)
