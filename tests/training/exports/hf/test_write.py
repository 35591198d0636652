"""An export for transformers computes and answers as training's model does, and is saved as it was loaded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.support import exported, load_export, tiny
from tests.training.support.exported import Made
from training.exports.hf.write import describe_connector
from training.model.chat_format import ChatFormat
from training.model.config import PromptOptions

ANY_RESOLUTION = {"enabled": True, "grids": [[2, 1], [1, 2]], "tile_order": "reference"}
TIED = tiny.PHI3 | {"tie_word_embeddings": True}


@pytest.fixture(scope="module", autouse=True)
def _code_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with exported.modules_in(tmp_path_factory.mktemp("modules")):
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return exported.write_pictures(tmp_path_factory.mktemp("pictures"))


def check(made: Made, folder: Path, pictures: list[Path]) -> tuple[Any, Any]:
    """Writes and loads the model, and compares it; returns it with its processor."""
    exported.write(made, folder)
    model, processor = load_export.load(folder)
    inputs = load_export.prepare(processor, exported.conversations(pictures))
    tokens, logits, texts = exported.expected(made, pictures)
    assert torch.equal(inputs["input_ids"], tokens)
    seen = inputs["attention_mask"].bool()
    assert not seen.all()
    found = load_export.compute_logits(model, inputs)
    assert found.shape == logits.shape
    assert (found - logits)[seen].abs().max() < 1e-5
    assert load_export.answer(model, processor, inputs, exported.NEW_TOKENS) == texts
    return model, processor


def test_one_tile_each(tokenizer: Path, pictures: list[Path], tmp_path: Path) -> None:
    made = exported.make(tokenizer, connector=tiny.connector("mlp"))
    check(made, tmp_path / "export", pictures)
    for part in load_export.load(tmp_path / "export"):
        part.save_pretrained(tmp_path / "again")
    assert exported.contents(tmp_path / "again") == exported.contents(tmp_path / "export")
    assert sorted(exported.contents(tmp_path / "export")) == [
        "chat_template.jinja",
        "config.json",
        "configuration_shardloom.py",
        "generation_config.json",
        "image_processing_shardloom.py",
        "model.safetensors",
        "modeling_shardloom.py",
        "processing_shardloom.py",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_any_resolution_and_a_tied_head(tokenizer: Path, pictures: list[Path], tmp_path: Path) -> None:
    made = exported.make(tokenizer, language={"config": TIED}, any_resolution=ANY_RESOLUTION)
    model, processor = check(made, tmp_path / "export", pictures)
    assert not model.config.tie_word_embeddings  # the new tokens have rows of their own
    inputs = load_export.prepare(processor, exported.conversations(pictures))
    assert inputs["tile_grids"].tolist() == [[2, 1]] * 3 + [[1, 2]] * 3 + [[2, 1]] * 3
    beams = load_export.answer(model, processor, inputs, 4, num_beams=2)
    alone = [
        load_export.answer(model, processor, load_export.prepare(processor, [one]), 4, num_beams=2)
        for one in exported.conversations(pictures)
    ]
    assert [[text] for text in beams] == alone  # each beam of a text keeps its own images


def test_a_head_without_new_tokens_stays_tied(pictures: list[Path], tmp_path: Path) -> None:
    made = exported.make(
        exported.write_whole_tokenizer(tmp_path / "tokenizer"), language={"config": TIED}, head_bias=False
    )
    model, _ = check(made, tmp_path / "export", pictures)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert made.model.language.vocabulary_size == len(model.lm_head.weight) == 265


def test_a_table_that_scales_what_it_returns(tokenizer: Path, tmp_path: Path) -> None:
    """Gemma 3's, by the root of the width; training scales its rows, but not those of new tokens."""
    config = tiny.PHI3 | {"model_type": "gemma3_text", "num_key_value_heads": 4, "head_dim": 16}
    made = exported.make(tokenizer, language={"config": config}, head_bias=False)
    model, _ = load_export.load(exported.write(made, tmp_path / "export"))
    ids = torch.arange(made.tokenizer.vocabulary_size)
    torch.testing.assert_close(model.get_input_embeddings()(ids), made.model.language.embed(ids), rtol=1e-6, atol=1e-6)


def test_weights_in_several_files_and_half_precision(tokenizer: Path, tmp_path: Path) -> None:
    made = exported.make(tokenizer)
    made.model.bfloat16()
    folder = exported.write(made, tmp_path / "export", max_file_bytes=200_000)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert not list(tmp_path.glob(".*"))
    model, processor = load_export.load(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    inputs = load_export.prepare(processor, [[{"role": "user", "content": "What?"}]])
    assert load_export.compute_logits(model, inputs).isfinite().all()


def test_generation_ends_as_training_does(tokenizer: Path, tmp_path: Path) -> None:
    folder = exported.write(exported.make(tokenizer), tmp_path / "export")
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["eos_token_id"] == [256, 260, 264]  # <|endoftext|>, <|end|>, <|endofchunk|>
    assert settings["suppress_tokens"] == [261, 262, 263]
    assert (settings["pad_token_id"], settings["max_new_tokens"]) == (261, 128)


def test_the_card_shows_how_to_load_it(tokenizer: Path, tmp_path: Path) -> None:
    card = (exported.write(exported.make(tokenizer), tmp_path / "export") / "README.md").read_text()
    assert "A language model of type phi3 that takes images by a tower of type siglip_vision_model" in card
    assert "AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)" in card
    assert "apply_chat_template" in card
    assert "splits conversations" not in card
    assert "out = model.generate(**inputs)\n" in card
    assert "The weights are under the licences of the models that their training started from, and of its data" in card
    assert "license:" not in card
    fault = PromptOptions(template_fault="it can't be split")
    other = exported.write(exported.make(tokenizer, fault), tmp_path / "documents")
    assert 'processor(images=image, text="<image>", return_tensors="pt")' in (other / "README.md").read_text()
    assert not (other / "chat_template.jinja").exists()


def test_the_card_says_which_text_ends_an_answer(tokenizer: Path, pictures: list[Path], tmp_path: Path) -> None:
    """Where no token does, as the settings of generation can't: `generate` needs the tokenizer for it."""
    turns = {"user": {"opening": "Q: ", "closing": "\n"}, "assistant": {"opening": "A:", "closing": "\n\n"}}
    made = exported.make(tokenizer, PromptOptions(template=ChatFormat.model_validate(turns)))
    with torch.no_grad():
        made.model.language.head_bias[ord("\n")] += 1000  # type: ignore[index]
    card = (exported.write(made, tmp_path / "export") / "README.md").read_text()
    assert "model.generate(**inputs, stop_strings=['\\n\\n'], tokenizer=processor.tokenizer)" in card
    model, processor = load_export.load(tmp_path / "export")
    inputs = load_export.prepare(processor, exported.conversations(pictures))
    stop = {"stop_strings": ["\n\n"], "tokenizer": processor.tokenizer}
    assert load_export.answer(model, processor, inputs, 6, **stop) == ["\n\n"] * 2
    assert exported.expected(made, pictures)[2] == [""] * 2


@pytest.mark.parametrize("kind", list(tiny.CONNECTORS))
def test_a_connector_is_described_by_its_class(tokenizer: Path, kind: str) -> None:
    made = exported.make(tokenizer, connector=tiny.connector(kind))
    described = describe_connector(made.model.connector)
    from training.exports.hf.modeling import build_connector

    again = build_connector(json.loads(json.dumps(described)))
    assert type(again) is type(made.model.connector)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == {
        name: tensor.shape for name, tensor in made.model.connector.state_dict().items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(tiny.CONNECTORS))
def test_every_connector(tokenizer: Path, pictures: list[Path], tmp_path: Path, kind: str) -> None:
    for name, resolution in {"one": {}, "any": {"any_resolution": ANY_RESOLUTION}}.items():
        made = exported.make(tokenizer, connector=tiny.connector(kind), **resolution)
        check(made, tmp_path / name, pictures)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [mode for mode in tiny.MODES if mode != "language"])
def test_every_way_to_take_images(tokenizer: Path, pictures: list[Path], tmp_path: Path, mode: str) -> None:
    check(exported.make(tokenizer, **tiny.MODES[mode]), tmp_path / "export", pictures)
