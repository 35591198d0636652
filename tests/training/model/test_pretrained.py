"""What is saved is loaded again, by nothing but the folder, to the bit; a damaged folder is refused in one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import ShardloomError, UsageError
from tests.conftest import REPOSITORY
from tests.training.support import tiny
from tests.training.support.tiny import pack, picture
from training.model.pretrained import build_model, load_pretrained, read_options, save_pretrained
from training.model.tokens import load_tokenizer

CONFIGS = {
    "phi3": tiny.PHI3,
    "tied": tiny.PHI3 | {"model_type": "llama", "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 5e5}},
    "qwen2": tiny.PHI3 | {"model_type": "qwen2", "num_key_value_heads": 2},
}
BATCH = pack([[["what ", picture(1), "? a cat"], ["text"]]])

SCRIPT = """
import sys, torch
from safetensors.torch import load_file
from tests.training.model.test_pretrained import BATCH
from training.model.pretrained import load_pretrained
model = load_pretrained(sys.argv[1])[0]
assert torch.equal(model(BATCH), load_file(sys.argv[2])["logits"])
print(sum(parameter.numel() for parameter in model.parameters()), model.training, model.vision.frozen)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    options = tiny.options(tiny.write_tokenizer(folder / "tokenizer"))
    save_pretrained(build_model(options), load_tokenizer(options), folder / "saved")
    return folder / "saved"


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_equal_logits_in_a_fresh_process(saved: Path, tmp_path: Path) -> None:
    options = tiny.options(saved)
    save_file({"logits": build_model(options)(BATCH)}, tmp_path / "logits.safetensors")
    command = [sys.executable, "-c", SCRIPT, str(saved), str(tmp_path / "logits.safetensors")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("177523 False True\n", 0), done.stderr


@pytest.mark.parametrize("name", CONFIGS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    any_resolution = {"enabled": True, "grids": [[1, 2], [2, 2]], "tile_order": "reference"}
    options = tiny.options(
        tiny.write_tokenizer(tmp_path / "tokenizer"),
        language={"config": CONFIGS[name]},
        any_resolution=any_resolution,
        head_bias=name != "qwen2",
        seed=4,
    )
    model, tokenizer = build_model(options), load_tokenizer(options)
    save_pretrained(model, tokenizer, tmp_path / "model")
    loaded, again = load_pretrained(tmp_path / "model")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    buffers = dict(model.named_buffers())
    assert all(torch.equal(buffer, buffers[key]) for key, buffer in loaded.named_buffers())
    assert torch.equal(loaded(BATCH), model(BATCH))
    assert loaded.options.any_resolution == options.any_resolution
    assert loaded.language.lm.config.to_dict() == model.language.lm.config.to_dict()
    assert (again.special, again.fingerprint) == (tokenizer.special, tokenizer.fingerprint)
    table, head = loaded.language.lm.get_input_embeddings(), loaded.language.lm.get_output_embeddings()
    assert (table.weight is head.weight) == (name == "tied")
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in model.parameters()]


def test_files(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config = json.loads((saved / "config.json").read_text())
    assert config["model_type"] == "shardloom_resampler_lmm"
    assert config["model"]["language"]["config"]["num_hidden_layers"] == 2
    assert str(saved.parent) not in (saved / "config.json").read_text()


def test_large_models_are_several_files(saved: Path, tmp_path: Path) -> None:
    model, tokenizer = load_pretrained(saved)
    save_pretrained(model, tokenizer, tmp_path / "model", max_file_bytes=200_000)
    names = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    assert names == [f"model-{number:05d}-of-00005.safetensors" for number in (1, 2, 3, 4, 5)]
    assert torch.equal(load_pretrained(tmp_path / "model")[0](BATCH), model(BATCH))
    (tmp_path / "model" / names[1]).unlink()
    with pytest.raises(
        UsageError, match=r"^model: cannot read .*model-00002-of-00005\.safetensors: .*; pass a folder of"
    ):
        load_pretrained(tmp_path / "model")


def test_a_state_from_elsewhere(saved: Path, tmp_path: Path) -> None:
    """As of a model whose own tensors are shards."""
    model, tokenizer = load_pretrained(saved)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state["connector.latents"] += 1
    save_pretrained(model, tokenizer, tmp_path / "model", state)
    assert torch.equal(load_pretrained(tmp_path / "model")[0].connector.latents, model.connector.latents + 1)


def test_weights_of_an_earlier_stage(saved: Path) -> None:
    options = tiny.options(saved, seed=9, any_resolution={"enabled": True})
    model = build_model(options, weights=str(saved))
    assert torch.equal(model(BATCH), load_pretrained(saved)[0](BATCH))
    assert model.options == options
    dropping = {"config": tiny.PHI3 | {"attention_dropout": 0.1}}
    build_model(tiny.options(saved, language=dropping), weights=str(saved))


def test_weights_of_another_model(saved: Path, copy: Path) -> None:
    """Though all tensors have the same shapes."""
    turned = tiny.PHI3 | {"num_attention_heads": 2, "num_key_value_heads": 2, "rope_parameters": {"rope_theta": 5e5}}
    others = {
        r"connector\.latents is 4 there and 8 here": {"connector": tiny.CONNECTOR | {"latents": 8}},
        r"connector\.heads is 2 there and 4 here; connector\.head_dim is 16 there and 8 here": {
            "connector": tiny.CONNECTOR | {"heads": 4, "head_dim": 8}
        },
        r"language\.model_type is 'phi3' there and 'llama' here; .*": {
            "language": {"config": tiny.PHI3 | {"model_type": "llama"}}
        },
        r"language\.num_attention_heads is 4 there and 2 here; .*language\.rope_parameters is .*": {
            "language": {"config": turned}
        },
        r"vision\.num_attention_heads is 4 there and 2 here": {
            "vision": {"config": tiny.VISION | {"num_attention_heads": 2}}
        },
    }
    for found, changes in others.items():
        with pytest.raises(
            UsageError, match=rf"^model: .*saved is another model: {found}; make the recipe's the same$"
        ):
            build_model(tiny.options(saved, **changes), weights=str(saved))
    words = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(
        UsageError, match=rf"^model: {saved} was trained with another tokenizer; pass model\.tokenizer="
    ):
        build_model(tiny.options(copy), weights=str(saved))


def test_parts_to_load(saved: Path, tmp_path: Path) -> None:
    """Loaded for the model, read of for its shapes, and not touched where all weights come from elsewhere."""
    model, _ = load_pretrained(saved)
    model.vision.model.save_pretrained(tmp_path / "tower")
    model.language.lm.save_pretrained(tmp_path / "lm")
    named = {"vision": {"pretrained": f"{tmp_path}/tower"}, "language": {"pretrained": f"{tmp_path}/lm"}}
    options = tiny.options(saved, **named)
    whole = build_model(options)
    assert torch.equal(whole.vision(BATCH.tiles), model.vision(BATCH.tiles))
    loaded = zip(whole.language.lm.parameters(), model.language.lm.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in loaded)
    for weights in tmp_path.glob("*/model.safetensors"):
        weights.unlink()
    bare = build_model(options, "meta")
    assert [p.shape for p in bare.parameters()] == [p.shape for p in model.parameters()]
    filled = build_model(options, weights=str(saved))
    assert torch.equal(filled(BATCH), model(BATCH))
    assert filled.options == options
    save_pretrained(whole, load_tokenizer(options), tmp_path / "whole")
    assert json.loads((tmp_path / "whole/config.json").read_text()) == json.loads((saved / "config.json").read_text())


def test_nothing_is_overwritten(saved: Path, tmp_path: Path) -> None:
    model, tokenizer = load_pretrained(saved)
    with pytest.raises(UsageError, match=r"^export: .*saved exists and is not empty; pass a new folder$"):
        save_pretrained(model, tokenizer, saved)
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardloomError, match=r"^export: .*file exists and is not empty; pass a new folder$"):
        save_pretrained(model, tokenizer, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_model_is_replaced_when_the_new_one_is_whole(copy: Path, saved: Path, tmp_path: Path) -> None:
    model, tokenizer = load_pretrained(saved)
    whole = model.state_dict()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(KeyError):  # while it is written
        save_pretrained(model, tokenizer, copy, {"connector.latents": whole["connector.latents"]}, replace=True)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    save_pretrained(model, tokenizer, copy, whole | {"connector.latents": model.connector.latents + 1}, replace=True)
    assert torch.equal(load_pretrained(copy)[0].connector.latents, model.connector.latents + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_missing_and_left_over_tensors(copy: Path) -> None:
    whole = load_file(copy / "model.safetensors")
    lacking = {key: tensor for key, tensor in whole.items() if key != "connector.norm.bias"}
    save_file(lacking, copy / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"^model: .*copy lacks 1 tensors, connector\.norm\.bias for example; pass complete w"
    ):
        load_pretrained(copy)
    save_file(whole | {"connector.extra": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(UsageError, match=r"^model: .*copy has connector\.extra, which this model does not have; p"):
        load_pretrained(copy)


def test_damaged_folders(copy: Path, tmp_path: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(
        UsageError, match=r"^model: cannot read .*model\.safetensors: .*; pass a folder of complete weights$"
    ):
        load_pretrained(copy)
    (copy / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UsageError, match=r"^model: .*model\.safetensors\.index\.json is not a weights index: "):
        load_pretrained(copy)
    for content, message in (
        ("{", r"config\.json does not describe a model: JSONDecodeError: .*; pass another folder$"),
        ('{"model_type": "phi3"}', r"config\.json describes a phi3; pass a folder of save_pretrained$"),
        (
            '{"model_type": "shardloom_resampler_lmm", "model": {}}',
            r"config\.json does not describe a model: ValidationError: ",
        ),
    ):
        (copy / "config.json").write_text(content)
        with pytest.raises(UsageError, match=message):
            load_pretrained(copy)
    with pytest.raises(UsageError, match=r"^model: cannot read .*none/config\.json: No such file or directory; pass a"):
        load_pretrained(tmp_path / "none")


def test_an_export_names_nothing_elsewhere(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder makes weights be loaded from another, nor anything be fetched."""
    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name))
    config = json.loads((copy / "config.json").read_text())
    elsewhere = {"language": {"pretrained": "someone/weights"}, "allow_download": True}
    (copy / "config.json").write_text(json.dumps(config | {"model": config["model"] | elsewhere}))
    with pytest.raises(
        UsageError,
        match=r"^model: .*config\.json refers to weights outside the folder \(language\.pretrained\), which no",
    ):
        load_pretrained(copy)
    (copy / "config.json").write_text(json.dumps(config | {"model": config["model"] | {"allow_download": True}}))
    assert read_options(copy).allow_download is False
    assert asked == []
