"""A tiny SigLIP with random weights, against transformers' own forward pass; the released one's size on paper."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from schemas.errors import UsageError
from tests.curation.engines.support.tiny_siglip import save_tiny_siglip, set_json
from training.model.vision import VisionTower

TINY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of one: text and vision, as published."""
    folder = tmp_path_factory.mktemp("siglip")
    save_tiny_siglip(folder)
    return folder


def tiles(count: int = 3, side: int = 32) -> Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8)
    return torch.from_numpy(pixels)


def damaged(siglip: Path, folder: Path, drop: str = "", add: str = "") -> Path:
    shutil.copytree(siglip, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(drop, None)
    save_file(tensors | ({add: torch.zeros(2)} if add else {}), folder / "model.safetensors", {"format": "pt"})
    return folder


def test_features_are_those_of_transformers(siglip: Path) -> None:
    """Through its own image processor, from pictures of the tower's size."""
    model = SiglipVisionModel.from_pretrained(siglip).eval()
    processor = SiglipImageProcessorPil.from_pretrained(siglip)
    pictures = list(tiles().permute(0, 2, 3, 1).numpy())
    pixels = processor(images=pictures, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(pixel_values=pixels).last_hidden_state
    tower = VisionTower.load(str(siglip), allow_download=False)
    assert (tower.width, tower.image_size, tower.patch_size, tower.cells) == (16, 32, 8, 16)
    features = tower(tiles())
    assert features.shape == (3, 16, 16)
    assert expected.std() > 0.3
    assert (features - expected).abs().max() < 1e-5


def test_vision_part_alone_and_a_round_trip(siglip: Path, tmp_path: Path) -> None:
    tower = VisionTower.load(str(siglip), allow_download=False)
    tower.model.save_pretrained(tmp_path)
    again = VisionTower.load(str(tmp_path), allow_download=False)
    assert list(again.state_dict()) == list(tower.state_dict())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in tower.state_dict().items())
    assert "model.head.probe" in tower.state_dict()
    assert torch.equal(again(tiles()), tower(tiles()))


def test_parameter_counts_of_siglip_so400m() -> None:
    with torch.device("meta"):
        tower = VisionTower.from_config(SO400M)
    assert tower.cells == 729
    assert sum(parameter.numel() for parameter in tower.parameters()) == 428_225_600
    assert sum(parameter.numel() for parameter in tower.model.head.parameters()) == 15_238_352


def test_frozen() -> None:
    tower = VisionTower.from_config(TINY | {"attention_dropout": 0.5})
    tower.freeze()
    tower.train()
    assert not any(module.training for module in tower.modules())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    features = tower(tiles())
    assert not features.requires_grad
    assert torch.equal(features, tower(tiles()))
    assert tower(tiles(0)).shape == (0, 16, 16)


def test_learning_all_but_the_head_learn() -> None:
    torch.manual_seed(0)
    tower = VisionTower.from_config(TINY).train()
    assert tower.training
    tower(tiles()).square().sum().backward()
    without = {name for name, parameter in tower.named_parameters() if parameter.grad is None}
    assert without == {f"model.head.{name}" for name, _ in tower.model.head.named_parameters()}
    assert not any(parameter.requires_grad for parameter in tower.model.head.parameters())


def test_learning_without_tiles_gradients_are_zeros() -> None:
    tower = VisionTower.from_config(TINY)
    features = tower(tiles(0))
    assert features.shape == (0, 16, 16)
    features.sum().backward()
    gradients = [parameter.grad for parameter in tower.parameters() if parameter.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_pixels_in_half_precision() -> None:
    """Exact to the precision's rounding: 127 and 128, next to zero, keep their digits."""
    tower = VisionTower.from_config(TINY).bfloat16()
    seen: list[Tensor] = []
    tower.model.embeddings.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    greys = torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8)
    features = tower(greys[:, None, None, None].expand(5, 3, 32, 32))
    assert features.dtype == torch.bfloat16
    expected = ((greys.double() / 255 - 0.5) / 0.5).bfloat16()
    assert torch.equal(seen[0][:, 0, 0, 0], expected)


def test_the_tiles_stay_as_they_are() -> None:
    given = tiles()
    VisionTower.from_config(TINY)(given)
    assert torch.equal(given, tiles())


def test_made_alike_from_the_same_seed() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(VisionTower.from_config(TINY).state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    weight = "model.encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(made[0][weight], made[2][weight])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_sise": 16}, "vision: a SigLIP tower has no setting hidden_sise; correct vision.config"),
        (
            TINY | {"num_attention_heads": 3},
            "vision: no tower can be made of vision.config: ValueError: embed_dim must",
        ),
        (TINY | {"hidden_size": "x"}, "vision: no tower can be made of vision.config: Strict"),
        (
            TINY | {"model_type": "dinov2"},
            "vision: vision.config describes a 'dinov2'; only 'siglip_vision_model' and 'clip_vision",
        ),
        (
            TINY | {"model_type": "siglip2_vision_model"},
            "vision: vision.config describes a 'siglip2_vision_model'; only ",
        ),
    ],
)
def test_configurations_of_no_tower(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match="^" + message) as raised:
        VisionTower.from_config(config)
    assert "\n" not in str(raised.value)


def test_weights_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"^vision: no folder nowhere; pass model\.vision\.pretrained=FOLDER"):
        VisionTower.load("nowhere", allow_download=True)
    with pytest.raises(UsageError, match=r"^vision: no folder some/tower; .*allow_download=true"):
        VisionTower.load("some/tower", allow_download=False)


def test_weights_that_do_not_fit(siglip: Path, tmp_path: Path) -> None:
    key = "vision_model.post_layernorm.weight"
    cases = {
        str(damaged(siglip, tmp_path / "a", drop=key)): "lacks 1 tensors that the tower needs, post_layernorm.weight",
        str(damaged(siglip, tmp_path / "b", add="adapter.x")): "has 1 tensors that no tower has, adapter.x for example",
        str(damaged(siglip, tmp_path / "c", drop=key, add=key)): "cannot load .*: RuntimeError",  # another shape
    }
    for folder, message in cases.items():
        with pytest.raises(UsageError, match=message) as raised:
            VisionTower.load(folder, allow_download=False)
        assert "\n" not in str(raised.value)


def test_another_kind_of_model(siglip: Path, tmp_path: Path) -> None:
    shutil.copytree(siglip, tmp_path / "other")
    set_json(tmp_path / "other/config.json", model_type="dinov2")
    with pytest.raises(UsageError, match=r"holds a model of type 'dinov2'; pass one of type 'siglip' or 'clip'$"):
        VisionTower.load(str(tmp_path / "other"), allow_download=False)


def test_a_tower_of_its_own_name_is_made() -> None:
    assert (
        VisionTower.from_config(TINY | {"model_type": "siglip_vision_model"}).cells
        == VisionTower.from_config(TINY).cells
        == 16
    )


def test_code_from_the_hub_is_never_asked_for(siglip: Path, tmp_path: Path) -> None:
    """transformers takes an attention named by a repository for code to fetch, in parts of a configuration as well."""
    folder = Path(shutil.copytree(siglip, tmp_path / "kernel"))
    vision = json.loads((siglip / "config.json").read_text())["vision_config"]
    for fault in ({"attn_implementation": "some/kernel"}, {"vision_config": vision | {"attn_implementation": "a/b:c"}}):
        shutil.copy(siglip / "config.json", folder)
        set_json(folder / "config.json", **fault)
        with pytest.raises(UsageError, match=r"^vision: .*config\.json asks for code from the hub \(attn_impl.*: \w+/"):
            VisionTower.load(str(folder), allow_download=False)


def test_pickled_weights_are_never_read(siglip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    shutil.copy(siglip / "config.json", folder)
    torch.save(load_file(siglip / "model.safetensors"), folder / "pytorch_model.bin")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "siglip"
    with pytest.raises(UsageError, match=r"^vision: cannot load"):
        VisionTower.load(str(folder), allow_download=False)
