"""What a model writes of held-out samples, kept beside the best checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.support import runs, tiny
from tests.training.support.sets import captioned, document, write_set
from training.data.options import HeldOutOptions
from training.evaluation.held_out_loss import HELD_OUT_FILE
from training.evaluation.held_out_parts import pack_held_out
from training.evaluation.held_out_samples import SAMPLES_FILE, HeldOutSampler
from training.loop import train
from training.model.pretrained import load_pretrained
from training.model.tokens import load_tokenizer
from training.parallel import Ranks
from training.recipe import TrainRecipe
from training.set_up import TrainingRun, set_up


@pytest.fixture
def asked(tokenizer: Path, tmp_path: Path) -> TrainRecipe:
    """A run of four steps that holds out a picture, a document, a conversation and a text."""
    words = load_tokenizer(tiny.options(tokenizer))
    turns = ["Who?", (48, 64), "What is it?", "A map.", "Where?", "Rome."]
    roles = ("system", "user", "user", "assistant", "user", "assistant")
    sets = {
        "chats": write_set(tmp_path / "chats", [document(901, turns, roles)], words),
        "pages": write_set(tmp_path / "pages", [document(902, ["see", (48, 64), "and ends"])], words),
        "pictures": write_set(tmp_path / "pictures", [captioned(n, f"picture {n}") for n in (903, 904)], words),
        "texts": write_set(tmp_path / "texts", [document(905, ["abcdefgh"])], words),
    }
    held_out = {"sets": sets, "every": 2, "generate": 4, "generate_tokens": 6}
    run = {"output": str(tmp_path / "run"), "peak_tflops": 1.0}
    data = {"held_out": held_out, "workers": 0, "system_prompt": None}
    return runs.packed(tmp_path, tokenizer, data=data, run=run, steps=4)


def build(run: TrainingRun, **changes: Any) -> HeldOutSampler:
    asked = run.trainer.recipe.data.held_out
    assert asked is not None
    options = HeldOutOptions.model_validate(asked.model_dump() | changes)
    return HeldOutSampler.build(run, pack_held_out(run.plan, options), options)


def read(folder: Path, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / file).read_text().splitlines()]


def test_samples_of_all_sources_are_cut_where_the_model_continues_them(asked: TrainRecipe, tmp_path: Path) -> None:
    """A picture before its caption, a page after its image, a chat before its answer, a text in its middle."""
    run = set_up(tmp_path / "run", asked, Ranks())
    found = {one.source: one for one in build(run).generate()}
    assert {name: (one.key, one.expected) for name, one in found.items()} == {
        "chats": ("d000901", "A map."),
        "pages": ("d000902", "and en"),
        "pictures": (found["pictures"].key, "pictur"),
        "texts": ("d000905", "fgh"),
    }
    assert found["pictures"].prompt == ""
    assert found["pages"].prompt == "see"
    assert found["texts"].prompt == "abcde"
    assert "What is it?" in found["chats"].prompt
    assert found["pages"].shard.endswith("00000000.tar")
    assert len(build(run, generate=5).generate()) == 5
    assert build(run, generate=0).generate() == []
    assert run.trainer.model.training


def test_those_of_the_best_checkpoint_are_what_its_model_writes(asked: TrainRecipe, tmp_path: Path) -> None:
    assert train(asked).status == "done"
    log, samples = read(tmp_path, HELD_OUT_FILE), read(tmp_path, SAMPLES_FILE)
    lowest, best = float("inf"), []
    for line in log:
        if line["loss"] < lowest:
            lowest, best = line["loss"], [*best, line["step"]]
    assert [line["step"] for line in samples] == [step for step in best for _ in range(4)]
    assert best[-1] == 4
    run = set_up(tmp_path / "again", asked, Ranks())
    model, _ = load_pretrained(tmp_path / "run/model")
    run.model.load_state_dict(model.state_dict())
    generated = [one.generated for one in build(run).generate()]
    assert [line["generated"] for line in samples[-4:]] == generated
    assert all("sampling_seconds" in line for line in log if line["step"] in best)


def test_a_resumed_run_removes_those_of_later_steps(asked: TrainRecipe, tmp_path: Path) -> None:
    asked = asked.model_copy(update={"steps": 2})
    assert train(asked).status == "done"
    before = read(tmp_path, SAMPLES_FILE)
    with (tmp_path / "run" / SAMPLES_FILE).open("a") as file:
        file.write(json.dumps(before[-1] | {"step": 6}) + "\n")
    train(asked, resume="auto")
    assert read(tmp_path, SAMPLES_FILE) == before
