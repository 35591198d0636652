"""An export in which the connector is still called `resampler` is the model that it was."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from schemas.errors import UsageError
from tests.training.support import tiny
from training.inference import answer_prompt
from training.model.connectors.perceiver import PerceiverOptions
from training.model.generate import GenerateOptions, build_prompt_batch
from training.model.pretrained import build_model, load_pretrained, read_options, save_pretrained

OLD = Path(__file__).parents[1] / "support/export_of_resampler"
CONNECTOR = PerceiverOptions(depth=2, heads=1, head_dim=4, latents=3, ff_mult=2)
SAID = [-0.043537, 0.097531, 0.038287, 0.227307, -0.166086]  # logits of the tokens below, by the commit that wrote it
TOKENS = [0, 65, 97, 256, 264]


def test_it_says_what_it_said() -> None:
    model, tokenizer = load_pretrained(OLD)
    assert model.options.connector == CONNECTOR
    image = Image.fromarray(tiny.picture(1)[0].permute(1, 2, 0).contiguous().numpy())
    logits = model(build_prompt_batch(model, tokenizer, [["what ", image, "?"]]))[0, -1, TOKENS]
    assert logits.tolist() == pytest.approx(SAID, abs=2e-6)
    assert (
        answer_prompt(str(OLD), "hello", [], GenerateOptions(max_new_tokens=6), device="cpu")
        == '\ufffd\x0e\ufffdb\x18"'
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_run_starts_from_it(device: str) -> None:
    options = read_options(OLD)
    model = build_model(options, device, str(OLD))
    stored = load_file(OLD / "model.safetensors")
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {name_then(key): shape for key, shape in shapes.items()} == {key: held.shape for key, held in stored.items()}
    if device == "cpu":
        assert all(torch.equal(tensor, stored[name_then(key)]) for key, tensor in model.state_dict().items())
    other = options.model_copy(update={"connector": CONNECTOR.model_copy(update={"latents": 5})})
    with pytest.raises(UsageError, match=r"is another model: connector\.latents is 3 there and 5 here; make the"):
        build_model(other, device, str(OLD))


def test_it_is_exported_under_the_new_name(tmp_path: Path) -> None:
    save_pretrained(*load_pretrained(OLD), tmp_path / "model")
    stored, written = load_file(OLD / "model.safetensors"), load_file(tmp_path / "model/model.safetensors")
    assert {name_then(key) for key in written} == stored.keys()
    assert all(torch.equal(tensor, stored[name_then(key)]) for key, tensor in written.items())
    before, now = (json.loads((folder / "config.json").read_text())["model"] for folder in (OLD, tmp_path / "model"))
    assert now.pop("connector") == {"kind": "perceiver"} | before.pop("resampler")
    assert now == before


def name_then(key: str) -> str:
    """What a tensor is called in the old export."""
    return key.replace("connector.", "resampler.")
