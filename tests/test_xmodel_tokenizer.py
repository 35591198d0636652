"""The script beside the recipes of Xmodel-VLM makes a unigram tokenizer that the trainer takes."""

import importlib.util
import json
from itertools import cycle, islice
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Tokenizer

from tests.conftest import REPOSITORY
from tests.pipelines.support.published import take_in
from tests.training.support import tiny
from training.model.config import ModelOptions
from training.model.tokens import load_tokenizer

FOLDER = REPOSITORY / "recipes/train/xmodel_vlm"
TEXTS = [line for page in sorted((REPOSITORY / "docs").glob("*.md")) for line in page.read_text().splitlines() if line]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer made of a set by the command."""
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    take_in("text", str(folder / "a.jsonl"), folder / "set")
    load("make_tokenizer").main(str(folder / "set"), str(folder / "tokenizer.json"), "1000")
    return folder


def test_a_unigram_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert json.loads((folder / "tokenizer.json").read_text())["model"]["type"] == "Unigram"
    assert tokenizer.get_vocab_size() == 1000
    assert [tokenizer.token_to_id(name) for name in ("<unk>", "<s>", "</s>", "<0x00>", "<0xFF>")] == [0, 1, 2, 3, 258]
    assert tokenizer.encode("the images of a recipe").tokens == ["▁the", "▁images", "▁of", "▁a", "▁recipe"]
    for text in (TEXTS[7], "ﬁne", "☃ ein Mädchen\n", "<s> is text", "<0x41>"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert 0 not in ids, "nothing is unknown"
        assert tokenizer.decode(ids, skip_special_tokens=False) == tokenizer.normalizer.normalize_str(text)


def test_the_trainer_takes_it(folder: Path) -> None:
    tokenizer = load_tokenizer(ModelOptions.model_validate(tiny.options(folder / "tokenizer.json").model_dump()))
    assert tokenizer.find_name(tokenizer.special.end) == "</s>"
    assert tokenizer.bos == 1
    assert tokenizer.adds_bos
    assert tokenizer.decode(tokenizer.encode("The boat is ☃.")) == "The boat is ☃."
    assert tokenizer.base_vocabulary_size == 1001  # with a pad


def test_texts_come_from_each_shard_in_turn(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"t{number}"}) + "\n" for number in range(5)))
    take_in("text", str(tmp_path / "a.jsonl"), tmp_path / "set", samples_per_shard=2)
    assert list(load("make_tokenizer").read_texts(tmp_path / "set")) == ["t0", "t2", "t4", "t1", "t3"]
    found = [*islice(cycle(load("make_tokenizer").read_texts(tmp_path / "none")), 1)]
    assert found == []
