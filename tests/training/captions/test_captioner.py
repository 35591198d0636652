"""Captions by a model of the trainer: asked as it was trained, none depends on its batch."""

import json
import shutil
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.engines.declaration import OtherEngines
from curation.engines.kinds import CAPTIONS, CaptionAnswer, CaptionEngine, CaptionRequest
from schemas.errors import UsageError
from tests.conftest import REPOSITORY
from tests.training.support import tiny
from training.captions.engine import ENGINE
from training.captions.settings import ShardloomSettings
from training.data.options import DEFAULT_SYSTEM_PROMPT
from training.inference import answer_prompt
from training.model.config import PromptOptions
from training.model.generate import GenerateOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

NEW = 12
LIMIT = tiny.PHI3["max_position_embeddings"]
OPENING, CLOSING = 2, 4  # tokens around a turn's words, with the assistant's marker behind them


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose training had a system turn."""
    return export(tmp_path_factory.mktemp("export"), PromptOptions(system=None))


def export(folder: Path, prompts: PromptOptions) -> Path:
    options = tiny.options(tiny.write_tokenizer(folder / "tokenizer"))
    save_pretrained(ResamplerLMM.build(options), load_tokenizer(options), folder / "model", prompts=prompts)
    return folder / "model"


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """The export, to be changed."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


def make(folder: Path, **settings: Any) -> CaptionEngine:
    return ENGINE.make(ShardloomSettings(**({"weights": str(folder), "max_new_tokens": NEW} | settings)))


def ask(prompt: str, seed: int | None = 0, name: str = "a") -> CaptionRequest:
    """A request with an image, whose shape depends on the seed as its pixels do, or with none."""
    if seed is None:
        return CaptionRequest(name, prompt, None)
    pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, 60, 3), dtype=np.uint8)
    return CaptionRequest(name, prompt, pixels)


REQUESTS = [ask("word " * (seed % 4) + str(seed), seed, f"key {seed}") for seed in range(6)]


@pytest.mark.parametrize("chat", [True, False])
def test_an_image_has_the_caption_that_it_has_alone(model: Path, chat: bool) -> None:
    """Whatever is beside it, and wherever a pass ends."""
    alone = make(model, chat=chat).annotate(REQUESTS)
    assert [answer.id for answer in alone] == [request.id for request in REQUESTS]
    assert len({answer.text for answer in alone}) > 1
    for size in (4, 6):
        assert make(model, chat=chat, images_per_pass=size).annotate(REQUESTS) == alone


def test_it_is_asked_as_conversations_are_in_its_training(model: Path, tmp_path: Path) -> None:
    """With the system turn of that training, and as a document where it is to continue one."""
    [answer] = make(model).annotate([ask("abc")])
    asked = OPENING + tiny.TOKENS_PER_TILE + 1 + 3 + CLOSING
    assert (answer.prompt_tokens, answer.completion_tokens) == (asked, NEW)
    assert (answer.status, answer.finish_reason) == ("truncated", "length")
    [plain] = make(model, chat=False).annotate([ask("abc")])
    assert plain.prompt_tokens == tiny.TOKENS_PER_TILE + 3
    [text] = make(model, send_image=False).annotate([ask("abc", None)])
    assert text.prompt_tokens == OPENING + 3 + CLOSING
    with_system = export(tmp_path, PromptOptions(system=DEFAULT_SYSTEM_PROMPT))
    [answer] = make(with_system).annotate([ask("abc")])
    assert answer.prompt_tokens == asked + OPENING + len(DEFAULT_SYSTEM_PROMPT) + 2


def test_it_says_what_generate_says(model: Path, tmp_path: Path) -> None:
    """To the same image and text, the image first."""
    for request in REQUESTS:
        assert request.image is not None
        Image.fromarray(request.image).save(path := tmp_path / "image.png")
        [answer] = make(model).annotate([request])
        options = GenerateOptions(max_new_tokens=NEW)
        assert answer.text == answer_prompt(str(model), request.prompt, [str(path)], options, chat=True).strip()


def test_names_of_special_tokens_in_a_prompt_are_text(model: Path) -> None:
    text = "<image><|end|><|assistant|>"
    [answer] = make(model).annotate([ask(text)])
    assert answer.prompt_tokens == OPENING + tiny.TOKENS_PER_TILE + 1 + len(text) + CLOSING


def test_a_prompt_that_is_too_long_costs_no_neighbour(model: Path) -> None:
    fits = LIMIT - NEW - OPENING - tiny.TOKENS_PER_TILE - 1 - CLOSING
    requests = [ask("x" * fits, 0, "fits"), ask("x" * (fits + 1), 1, "long"), ask("x", 2, "short")]
    answers = make(model, images_per_pass=3).annotate(requests)
    assert [answer.status != "error" for answer in answers] == [True, False, True]
    assert answers[1] == CaptionAnswer(
        "long",
        "",
        "error",
        detail=f"generate: a prompt of {LIMIT - NEW + 1} tokens and {NEW} new ones exceed the model's limit of {LIMIT};"
        " shorten the prompt, or pass a lower max_new_tokens",
    )
    assert make(model).annotate(requests) == answers


def test_the_fingerprint_names_all_that_a_caption_depends_on(model: Path, copy: Path) -> None:
    mark = make(model).fingerprint
    assert mark.name == "shardloom"
    assert mark.settings | {"configuration": ""} == {
        "chat": True,
        "send_image": True,
        "max_new_tokens": NEW,
        "device": "cpu",
        "precision": "fp32",
        "images_per_pass": 1,
        "threads": 1,
        "configuration": "",
    }
    assert make(copy).fingerprint == mark
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"prompts": {"system": "Be brief."}}))
    assert make(copy).fingerprint.settings["configuration"] != mark.settings["configuration"]


def lose_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def change_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llava"}')


def forget_conversations(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"prompts": {"template_fault": "it is odd"}}))


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (lose_tokenizer, "lacks tokenizer.json; pass weights=FOLDER with .*`shardloom train` and `shardloom export` write"),
    (cut_weights, "cannot load .*: model.safetensors has [0-9,]+ bytes, and its header says"),
    (change_type, "holds a model of type 'llava'; pass weights=FOLDER with"),
    (forget_conversations, "was trained on no conversations; pass chat=false$"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS)
def test_an_unfit_folder_is_refused_in_one_line(copy: Path, spoil: Callable[[Path], None], fault: str) -> None:
    spoil(copy)
    with pytest.raises(UsageError, match=f"^shardloom: .*{fault}") as caught:
        make(copy)
    assert "\n" not in str(caught.value)


def test_the_check_before_a_run_loads_nothing(tmp_path: Path, model: Path) -> None:
    others = OtherEngines()
    assert ENGINE.check is not None
    assert ENGINE.check(ShardloomSettings(weights=str(model)), others) == []
    with pytest.raises(UsageError, match=r"^shardloom: no model: pass weights=FOLDER with"):
        ENGINE.check(ShardloomSettings(), others)
    with pytest.raises(UsageError, match=r"^shardloom: no folder .*/none; pass weights=FOLDER with"):
        ENGINE.check(ShardloomSettings(weights=str(tmp_path / "none")), others)


def test_the_package_registers_the_engine() -> None:
    """By the group of entry points that an engine of anybody's uses, since no layer below imports the trainer."""
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]
    [(name, reference)] = declared["shardloom.engines"].items()
    assert EntryPoint(name, reference, "shardloom.engines").load() is ENGINE
    assert (ENGINE.name, ENGINE.kind) == (name, CAPTIONS) == ("shardloom", CAPTIONS)
