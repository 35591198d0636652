"""Features of CLIP's towers, and of other layers of SigLIP's, against transformers' own hidden states."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPVisionModel, SiglipVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from schemas.errors import UsageError
from tests.curation.engines.support.tiny_siglip import save_tiny_siglip, set_json
from tests.training.support import tiny
from training.model.pretrained import build_model, load_pretrained, save_pretrained
from training.model.tokens import load_tokenizer
from training.model.towers.pixels import normalize_pixels
from training.model.vision import VisionTower

SIDE = 32
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
TINY = SIZES | {"image_size": SIDE, "patch_size": 8, "model_type": "clip_vision_model"}
VIT_L_336 = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
VIT_H_378 = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of one, text and vision, as OpenAI's and DFN's are published in transformers' form."""
    folder = tmp_path_factory.mktemp("clip")
    text = {"vocab_size": 20, "max_position_embeddings": 8}
    model = CLIPModel(CLIPConfig(text_config=SIZES | text, vision_config=SIZES | {"image_size": SIDE, "patch_size": 8}))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("siglip")
    save_tiny_siglip(folder)
    return {"clip": clip, "siglip": folder}


def tiles(count: int = 3, side: int = SIDE) -> Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side), np.uint8)
    return torch.from_numpy(pixels)


def theirs(kind: str, folder: Path, pixels: Tensor, **options: Any) -> tuple[Tensor, ...]:
    """All hidden states, by transformers."""
    made = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}[kind]
    with torch.no_grad():
        states: tuple[Tensor, ...] = (
            made.from_pretrained(folder).eval()(pixel_values=pixels, output_hidden_states=True, **options).hidden_states
        )
    return states


def tower_of(folder: Path, layer: int = -1, side: int | None = None) -> VisionTower:
    return VisionTower.load(str(folder), False, layer, side)


@pytest.mark.parametrize("layer", [-1, -2])
def test_clip_is_transformers_without_the_class_token(clip: Path, layer: int) -> None:
    """Through its own image processor, from pictures of the tower's size."""
    size = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessorPil(size=size, crop_size=size)
    pictures = list(tiles().permute(0, 2, 3, 1).numpy())
    pixels = processor(images=pictures, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
    expected = theirs("clip", clip, pixels)[layer][:, 1:]
    tower = tower_of(clip, layer)
    assert (tower.width, tower.image_size, tower.patch_size, tower.cells, tower.positions) == (16, 32, 8, 16, 17)
    assert expected.std() > 0.3
    assert (tower(tiles()) - expected).abs().max() < 1e-5


def test_siglips_second_to_last_layer(folders: dict[str, Path]) -> None:
    expected = theirs("siglip", folders["siglip"], tiles() / 127.5 - 1)[-2]
    assert (tower_of(folders["siglip"], -2)(tiles()) - expected).abs().max() < 1e-5
    assert (tower_of(folders["siglip"])(tiles()) - expected).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("side", [24, 48])
def test_other_resolutions(kind: str, side: int, folders: dict[str, Path]) -> None:
    """Positions are interpolated as transformers does; the weights, and what is saved of them, stay as they are."""
    tower = tower_of(folders[kind], -2, side)
    means, deviations = (torch.tensor(values)[:, None, None] for values in (tower.family.mean, tower.family.deviation))
    pixels = (tiles(side=side) / 255 - means) / deviations
    expected = theirs(kind, folders[kind], pixels, interpolate_pos_encoding=True)[-2]
    assert (tower.cells, tower.image_size) == ((side // 8) ** 2, side)
    assert (tower(tiles(side=side)) - expected[:, -tower.cells :]).abs().max() < 1e-5
    own = tower_of(folders[kind])
    assert all(torch.equal(tensor, own.state_dict()[key]) for key, tensor in tower.state_dict().items())
    assert tower(tiles(0, side)).shape == (0, tower.cells, 16)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_own_size_is_no_other_resolution(kind: str, folders: dict[str, Path]) -> None:
    assert torch.equal(tower_of(folders[kind], side=SIDE)(tiles()), tower_of(folders[kind])(tiles()))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_cells_that_are_not_shown_change_nothing(kind: str, folders: dict[str, Path]) -> None:
    """And the others are those of a picture without them."""
    tower, given = tower_of(folders[kind]), tiles()
    shown = torch.ones((3, 16), dtype=torch.bool)
    shown[0, 8:] = shown[1, 1:] = False
    before = tower(given, shown)
    given[0, :, 16:], given[1, :, 8:], given[1, :, :, 8:] = 7, 99, 200
    after = tower(given, shown)
    assert torch.equal(before[shown], after[shown])
    assert not torch.equal(before, after)
    assert (tower(given, shown | True) - tower(given)).abs().max() < 1e-5
    hidden = tower.model.embeddings(normalize_pixels(given[:1], tower.family.mean, tower.family.deviation))
    first = tower.positions - tower.cells
    hidden = hidden[:, : first + 8]
    hidden = tower.model.pre_layrnorm(hidden) if first else hidden
    for layer in tower.layers:
        hidden = layer(hidden, None)
    without = hidden[:, first:] if first else tower.model.post_layernorm(hidden)
    assert (without[0] - after[0, :8]).abs().max() < 1e-5


def test_a_vision_part_alone_and_an_old_file(clip: Path, tmp_path: Path) -> None:
    """Old files hold constant position ids, and those with a projection have that too."""
    tower = tower_of(clip, -2)
    tower.model.save_pretrained(tmp_path / "alone")
    old = Path(shutil.copytree(clip, tmp_path / "old"))
    tensors = load_file(old / "model.safetensors")
    tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(tensors, old / "model.safetensors", {"format": "pt"})
    for folder in (tmp_path / "alone", old):
        again = tower_of(folder, -2)
        assert list(again.state_dict()) == list(tower.state_dict())
        assert torch.equal(again(tiles()), tower(tiles()))


def test_settings_of_old_configurations_are_left_out(clip: Path, tokenizer: Path, tmp_path: Path) -> None:
    """OpenAI's config.json has dozens of settings that no tower has; the model is built, exported and loaded anyway."""
    old = Path(shutil.copytree(clip, tmp_path / "old"))
    vision = json.loads((old / "config.json").read_text())["vision_config"]
    surplus = {"add_cross_attention": False, "dropout": 0.0, "num_beams": 1, "torchscript": False, "do_sample": False}
    set_json(old / "config.json", vision_config=vision | surplus)
    options = tiny.options(tokenizer, vision={"pretrained": str(old), "feature_layer": -2})
    model = build_model(options)
    assert build_model(options, "meta").state_dict().keys() == model.state_dict().keys()
    save_pretrained(model, load_tokenizer(options), tmp_path / "model")
    loaded, _ = load_pretrained(tmp_path / "model")
    assert torch.equal(loaded.vision(tiles()), tower_of(clip, -2)(tiles()))
    written = json.loads((tmp_path / "model/config.json").read_text())["model"]["vision"]
    assert written["feature_layer"] == -2
    assert not written["config"].keys() & surplus


@pytest.mark.parametrize(
    ("sizes", "side", "cells", "parameters"),
    [(VIT_L_336, 336, 576, 303_507_456), (VIT_H_378, 378, 729, 631_371_520)],
)
def test_parameter_counts_of_published_towers(sizes: dict[str, int], side: int, cells: int, parameters: int) -> None:
    """OpenAI's ViT-L/14 of 336 pixels, and DFN's ViT-H/14 of 378."""
    config = sizes | {"image_size": side, "patch_size": 14, "model_type": "clip_vision_model"}
    with torch.device("meta"):
        tower = VisionTower.from_config(config, feature_layer=-2)
    assert tower.cells == cells
    assert sum(parameter.numel() for parameter in tower.parameters()) == parameters


@pytest.mark.parametrize("count", [2, 0])
@pytest.mark.parametrize(
    ("kind", "layer", "unused"),
    [("clip", -1, ("post_layernorm",)), ("clip", -2, ("post_layernorm", "encoder.layers.2")),
     ("siglip", -2, ("post_layernorm", "encoder.layers.2", "head"))],
)  # fmt: skip
def test_what_the_features_depend_on_learns(kind: str, layer: int, unused: tuple[str, ...], count: int) -> None:
    config = TINY | {"model_type": f"{kind}_vision_model"}
    for side in (None, 40):
        tower = VisionTower.from_config(config, layer, side)
        tower.freeze()
        assert not any(parameter.requires_grad for parameter in tower.parameters())
        tower.unfreeze()
        tower(tiles(count, side or SIDE)).square().sum().backward()
        without = {name for name, parameter in tower.model.named_parameters() if parameter.grad is None}
        assert without == {name for name, _ in tower.model.named_parameters() if name.startswith(unused)}
        assert without == {name for name, parameter in tower.model.named_parameters() if not parameter.requires_grad}


def test_what_is_refused(clip: Path, tmp_path: Path) -> None:
    shutil.copytree(clip, tmp_path / "other")
    for kind in ("siglip2", "dinov2", "metaclip_2"):
        set_json(tmp_path / "other/config.json", model_type=kind)
        with pytest.raises(UsageError, match=f"^vision: .*other holds a model of type '{kind}'; pass one of type 's"):
            tower_of(tmp_path / "other")
    with pytest.raises(UsageError, match=r"^vision: model\.vision\.image_size 7 is less than a patch of 8 pixels$"):
        tower_of(clip, side=7)
    with pytest.raises(UsageError, match=r"^vision: a CLIP tower has no setting vision_use_head; correct"):
        VisionTower.from_config(TINY | {"vision_use_head": False})
    damaged = load_file(clip / "model.safetensors")
    del damaged["vision_model.pre_layrnorm.weight"]
    shutil.copytree(clip, tmp_path / "damaged")
    save_file(damaged, tmp_path / "damaged/model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 tensors that the tower needs, pre_layrnorm\.weight for example"):
        tower_of(tmp_path / "damaged")
    assert json.loads((clip / "config.json").read_text())["model_type"] == "clip"
