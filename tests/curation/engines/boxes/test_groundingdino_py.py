"""Weights get the package's names; where its environment is built, it finds what transformers' model finds."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

from curation.engines.boxes.grounding_dino import GroundingDino
from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import SHIPPED
from curation.engines.boxes.groundingdino_names import rename_tensors
from curation.engines.boxes.groundingdino_py import GroundingDinoPySettings, check_weights
from pipelines.environments.python import get_completion_mark, get_interpreter
from schemas.errors import UsageError
from tests.conftest import REPOSITORY
from tests.curation.engines.boxes.test_grounding_dino import ALL, VOCABULARY, image, save

FINDER = Path(__file__).parents[1] / "support/find_with_package.py"
BUILT = pytest.mark.skipif(
    not get_completion_mark("groundingdino-py").exists(), reason="shardloom engines --build groundingdino-py"
)


def network() -> GroundingDinoForObjectDetection:
    """Random weights, of the widths that the package has written into its code: 256, and 8 heads."""
    torch.manual_seed(0)
    swin = SwinConfig(embed_dim=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=4, out_indices=[2, 3, 4])
    bert = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=swin,
            text_config=bert,
            num_queries=20,
            encoder_layers=2,
            encoder_ffn_dim=256,
            decoder_layers=2,
            decoder_ffn_dim=256,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save(network(), tmp_path_factory.mktemp("weights"))
    sizes = json.loads((folder / "preprocessor_config.json").read_text()) | {
        "size": {"shortest_edge": 320, "longest_edge": 480}
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(sizes))
    return folder


def test_names() -> None:
    tensors = {
        "model.backbone.conv_encoder.model.embeddings.patch_embeddings.projection.weight": "a",
        "model.backbone.conv_encoder.model.hidden_states_norms.stage2.bias": "b",
        "model.backbone.conv_encoder.model.swin.layernorm.bias": "unused",
        "model.encoder.layers.3.fusion_layer.attn.values_vision_proj.weight": "c",
        "model.encoder.layers.3.deformable_layer.self_attn_layer_norm.bias": "d",
        "model.decoder.layers.5.encoder_attn_text_layer_norm.weight": "e",
        "model.decoder.layers.5.final_layer_norm.weight": "f",
        "model.query_position_embeddings.weight": "g",
        "model.text_backbone.encoder.layer.0.attention.self.query.weight": "h",
        "bbox_embed.0.layers.0.bias": "i",
    }
    for part in ("query", "key", "value"):
        tensors[f"model.backbone.conv_encoder.model.encoder.layers.1.blocks.0.attention.self.{part}.bias"] = part[0]
        tensors[f"model.decoder.layers.5.encoder_attn_text.{part}.weight"] = part[0]
        tensors[f"model.encoder.layers.3.text_enhancer_layer.self_attn.{part}.bias"] = part[0]
    assert rename_tensors(tensors, "".join) == {
        "backbone.0.patch_embed.proj.weight": "a",
        "backbone.0.norm1.bias": "b",
        "transformer.encoder.fusion_layers.3.attn.values_v_proj.weight": "c",
        "transformer.encoder.layers.3.norm1.bias": "d",
        "transformer.decoder.layers.5.catext_norm.weight": "e",
        "transformer.decoder.layers.5.norm3.weight": "f",
        "transformer.tgt_embed.weight": "g",
        "bert.encoder.layer.0.attention.self.query.weight": "h",
        "bbox_embed.0.layers.0.bias": "i",
        "backbone.0.layers.1.blocks.0.attn.qkv.bias": "qkv",
        "transformer.decoder.layers.5.ca_text.in_proj_weight": "qkv",
        "transformer.encoder.text_layers.3.self_attn.in_proj_bias": "qkv",
    }


def test_no_name_is_left_as_it_was() -> None:
    names = rename_tensors(network().state_dict(), lambda parts: torch.cat(list(parts)))
    assert not [name for name in names if name.startswith("model.") or "_layer_norm" in name]
    assert not [name for name in names if name.startswith("transformer.") and ".fc" in name]
    assert {name.partition(".")[0] for name in names} == {
        "backbone",
        "bbox_embed",
        "bert",
        "feat_map",
        "input_proj",
        "transformer",
    }


def test_missing_weights_are_named() -> None:
    with pytest.raises(UsageError, match=r"^groundingdino-py: no weights; pass --weights boxes=FOLDER with config\."):
        check_weights(GroundingDinoPySettings())
    with pytest.raises(UsageError, match=r"^grounding_dino: no folder /nowhere; pass weights=FOLDER with config\.json"):
        check_weights(GroundingDinoPySettings(weights="/nowhere"))


def find(folder: Path, pictures: list[Any], names: list[list[str]], **settings: object) -> Any:
    np.savez(folder / "pictures.npz", **{str(number): picture for number, picture in enumerate(pictures)})
    job = {"pictures": str(folder / "pictures.npz"), "names": names, "settings": settings}
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [get_interpreter("groundingdino-py"), FINDER, folder / "job.json"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@BUILT
@pytest.mark.slow
def test_agrees_with_transformers_on_the_same_weights(weights: Path, tmp_path: Path) -> None:
    pictures = [image(n, *size) for n, size in enumerate([(320, 480), (480, 320), (400, 400)])]
    names = [["cat", "traffic light"], ["dog"], ["red car", "tree", "house", "cat"]]
    settings = ALL | {"weights": str(weights), "box_threshold": 0.0, "text_threshold": 0.0}
    theirs = find(tmp_path, pictures, names, **settings)
    assert theirs["same"], "a picture's boxes are the same whatever is in its batch"
    assert theirs["fingerprint"]["version"] == (
        "groundingdino-py 0.4.0, transformers 4.57.6, torch 2.13.0, torchvision 0.28.0, pillow 13.0.0"
    )
    engine = GroundingDino(GroundingDinoSettings.model_validate(settings))
    assert theirs["fingerprint"]["weights_sha256"] == engine.fingerprint.weights_sha256
    for mine, other in zip(engine.annotate(pictures, names), theirs["found"], strict=True):
        assert len(mine) == len(other) == 20
        for one in mine:  # queries of nearly equal scores may change places
            off, same = min((np.abs(np.subtract(one.box, twin["box"])).max(), twin["label"]) for twin in other)
            assert (off < 1e-3, same) == (True, one.label)
        assert np.abs(np.subtract([one.score for one in mine], [one["score"] for one in other])).max() < 1e-3


@BUILT
def test_other_sizes_than_the_package_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"groundingdino-py takes a d_model of 256"):
        find(tmp_path, [], [], weights=str(SHIPPED), device="cpu")
