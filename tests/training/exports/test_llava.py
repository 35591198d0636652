"""An export as LLaVA is loaded by transformers' own class, and computes what training's model does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from tests.training.support import exported, load_export, tiny
from training.exports.formats import check_format
from training.exports.llava import write_llava
from training.model.generate import build_prompt_batch
from training.model.towers.pixels import normalize_pixels

CLIP = tiny.VISION | {"model_type": "clip_vision_model"}
TOWERS: dict[str, dict[str, Any]] = {
    "clip": {"config": CLIP, "feature_layer": -2},
    "last of clip": {"config": CLIP},
    "siglip": {"config": tiny.VISION, "feature_layer": -2},
}
TIED = {"config": tiny.PHI3 | {"model_type": "llama", "tie_word_embeddings": True}}


@pytest.fixture(scope="module", autouse=True)
def _code_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with exported.modules_in(tmp_path_factory.mktemp("modules")):
        yield


def test_a_head_without_new_tokens_stays_tied(tmp_path: Path) -> None:
    """Its weights are in the file once."""
    tokenizer = exported.write_whole_tokenizer(tmp_path / "tokenizer")
    changes: dict[str, Any] = {"vision": TOWERS["clip"], "connector": {"kind": "mlp"}, "language": TIED}
    made = exported.make(tokenizer, head_bias=False, **changes)
    write_llava(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    model, _ = load_export.load(tmp_path / "export")
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(tmp_path / "export/model.safetensors")


@pytest.mark.parametrize(
    ("tower", "changes"), [("clip", {}), ("last of clip", {}), ("siglip", {"language": TIED})], ids=list(TOWERS)
)
def test_equal_logits(tokenizer: Path, tmp_path: Path, tower: str, changes: dict[str, Any]) -> None:
    made = exported.make(tokenizer, vision=TOWERS[tower], connector={"kind": "mlp"}, head_bias=False, **changes)
    check_format(made.model, "llava")
    write_llava(made.model, made.tokenizer, made.prompts, made.state, tmp_path / "export")
    model, processor = load_export.load(tmp_path / "export")
    assert (type(model), type(processor)) == (LlavaForConditionalGeneration, LlavaProcessor)
    assert not list((tmp_path / "export").glob("*.py"))
    paths = exported.write_pictures(tmp_path / "pictures")[:2]
    inputs = load_export.prepare(processor, exported.conversations(paths))
    tokens, logits, _ = exported.expected(made, paths)
    assert torch.equal(inputs["input_ids"], tokens)
    pictures = [Image.open(path) for path in paths]
    tiles = build_prompt_batch(made.model, made.tokenizer, [pictures]).tiles
    family = made.model.vision.family  # type: ignore[union-attr]
    own = normalize_pixels(tiles, family.mean, family.deviation)
    assert (inputs["pixel_values"] - own).abs().mean() < 0.02  # Pillow's resizing is not torch's
    found = load_export.compute_logits(model, inputs | {"pixel_values": own})
    assert (found - logits)[inputs["attention_mask"].bool()].abs().max() < 1e-5
    for part in load_export.load(tmp_path / "export"):
        part.save_pretrained(tmp_path / "again")
    assert exported.contents(tmp_path / "again") == exported.contents(tmp_path / "export")
    assert processor._get_num_multimodal_tokens(image_sizes=[(48, 96)])["num_image_tokens"] == [16]
