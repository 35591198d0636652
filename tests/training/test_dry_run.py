"""What a run would be, in words."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from schemas.errors import UsageError
from tests.training.support import runs, tiny
from tests.training.support.tiny import pack
from training.dry_run import describe_sequence, dry_run
from training.model.pretrained import build_model, save_pretrained
from training.model.tokens import load_tokenizer
from training.parallel import Ranks
from training.set_up import set_up


def test_the_first_sequence(tokenizer: Path) -> None:
    batch = runs.batch(3, length=64)
    assert describe_sequence(batch, load_tokenizer(runs.recipe(tokenizer).model)) == (
        "--- sample 1: tiny 0, 26 positions\n"
        "[image 4 tokens: tiny/0]a picture of 3 and 21<|endoftext|>\n"
        "--- sample 2: tiny 1, 22 positions\n"
        "text number 3 says so<|endoftext|>\n"
        "--- padding: 16 positions"
    )


def test_texts_steer_no_terminal(tokenizer: Path) -> None:
    words = describe_sequence(pack([[["a\x1b[31mred\nline\x9b\u202e"]]]), load_tokenizer(runs.recipe(tokenizer).model))
    assert words == "--- sample 1: tiny 0, 19 positions\na\\x1b[31mred\nline\\x9b\\u202e"


def test_the_report(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=1500, optimizer=runs.ALL | {"lr_rule": "mm1"})
    told = "\n".join(dry_run(asked, world_size=2)).splitlines()
    assert told[0] == "parameters  177,523, of which 132,499 are trained"
    assert told[2] == "memory per device, sharded over 2:"
    assert told[5].split() == ["connector", "14,784", "14,784", "29.6", "kB", "59.1", "kB", "59.1", "kB"]
    assert told[6].startswith("  language model          117,715        117,715")
    assert "a step      4 sequences of 128: 512 tokens at most" in told
    assert "steps       1,500: 768,000 tokens at most" in told
    assert "rates       tower frozen, connector 0.00488, language 0.00488; constant, 0 steps of warm-up" in told
    assert "one pass: about 42,084 steps to data.stop, over sources that repeat without end" in told
    assert [line for line in told if line.startswith("---")] == [
        "--- sample 1: text d000121, 44 positions",
        "--- sample 2: text d000117, 36 positions",
        "--- sample 3: text d000120, 42 positions",
        "--- padding: 6 positions",
    ]


def test_the_length_of_epochs(tokenizer: Path, tmp_path: Path) -> None:
    data = {"repeats": {}, "stop": "all_exhausted"}
    asked = runs.packed(tmp_path, tokenizer, steps=None, epochs=1, data=data, schedule={"warmup_steps": 9})
    told = "\n".join(dry_run(asked)).splitlines()
    assert not [line for line in told if line.startswith("steps ")]
    assert "epochs      1: 4 steps, 2,048 tokens at most" in told
    assert "one pass: 4 steps" in told
    assert [line for line in told if line.startswith("warning: ")] == [
        "warning: schedule.warmup_steps: 9 steps of warm-up do not end within the run's 4 steps, so the learning rate "
        "never reaches its peak: set fewer"
    ]


def test_a_share_that_holds_nothing_out(tokenizer: Path, tmp_path: Path) -> None:
    """Refused as training refuses it."""
    with pytest.raises(UsageError, match=r"^data\.held_out: it holds out no sample that can be used; raise held_out\."):
        list(dry_run(runs.packed(tmp_path, tokenizer, data={"held_out": {"share": 1e-12}})))


def test_ranks_that_cannot_be(tokenizer: Path) -> None:
    with pytest.raises(UsageError, match="--ranks 0: must be at least 1"):
        list(dry_run(runs.recipe(tokenizer), 0))
    with pytest.raises(UsageError, match="global_batch_size: 2 can't be divided"):
        list(dry_run(runs.recipe(tokenizer), 3))
    with pytest.raises(UsageError, match=r"^parallel: none, but there are 2 ranks; use ddp or fsdp$"):
        list(dry_run(runs.recipe(tokenizer, parallel="none"), 2))


def test_a_start_that_cannot_be(tokenizer: Path, tmp_path: Path) -> None:
    """Looked at without its weights."""
    with pytest.raises(UsageError, match=r"^model: cannot read /nope/config\.json: No such file or directory; pass a"):
        list(dry_run(runs.recipe(tokenizer, init_from="/nope")))
    options = tiny.options(tokenizer)
    save_pretrained(build_model(options), load_tokenizer(options), tmp_path / "model")
    started = runs.recipe(tokenizer, init_from=str(tmp_path / "model"), data=data(256))
    assert "parameters  177,523" in next(dry_run(started))
    other = tiny.options(tokenizer, connector=tiny.CONNECTOR | {"latents": 8}).model_dump()
    with pytest.raises(UsageError, match=r"connector\.latents is 4 there and 8 here; make the recipe's the same$"):
        next(dry_run(runs.recipe(tokenizer, init_from=str(tmp_path / "model"), data=data(256), model=other)))
    whole = load_file(tmp_path / "model/model.safetensors")
    save_file({key: whole[key] for key in whole if key != "connector.norm.bias"}, tmp_path / "model/model.safetensors")
    with pytest.raises(UsageError, match=r"lacks 1 tensors, connector\.norm\.bias for example; pass complete weights$"):
        next(dry_run(started))


def test_sizes_need_no_data(tokenizer: Path) -> None:
    parts = dry_run(runs.recipe(tokenizer, data=data(512)))
    assert next(parts).endswith(
        "\nrates       tower frozen, connector 0.001, language 0.001; constant, 0 steps of warm-up\n"
    )
    with pytest.raises(UsageError, match="nowhere"):
        next(parts)


def test_sequences_longer_than_the_model_knows(tokenizer: Path) -> None:
    message = r"^data.sequence_length: 513 positions are more than the language model's 512; make it smaller$"
    asked = runs.recipe(tokenizer, data=data(513))
    with pytest.raises(UsageError, match=message):
        next(dry_run(asked))
    with pytest.raises(UsageError, match=message):
        set_up(Path("nowhere"), asked, Ranks())


def data(length: int) -> dict[str, Any]:
    return {
        "sources": dict.fromkeys(runs.SOURCES, "nowhere"),
        "weights": dict.fromkeys(runs.SOURCES, 1),
        "sequence_length": length,
    }


def test_a_language_model_by_itself(tokenizer: Path, tmp_path: Path) -> None:
    """Neither a tower nor a connector is listed, and a rate for a tower is refused before anything is read."""
    model = tiny.options(tokenizer, vision=None).model_dump()
    base = runs.packed(tmp_path, tokenizer)
    data = {"sources": {"text": base.data.sources["text"]}, "weights": {"text": 1}, "repeats": {"text": None}}
    told = "\n".join(dry_run(runs.packed(tmp_path / "two", tokenizer, model=model, data=data))).splitlines()
    assert told[0] == "parameters  117,715, of which 117,715 are trained"
    assert told[4].startswith("  language model          117,715        117,715")
    assert not any(line.startswith(("  vision tower", "  connector")) for line in told)
    assert next(line for line in told if line.startswith("the first sequence: ")).endswith(" in such a step")
    with pytest.raises(UsageError, match=r"^optimizer\.lr\.tower: the model has no tower, as model\.vision is null"):
        list(dry_run(runs.recipe(tokenizer, model=model, optimizer={"lr": {"tower": 1}})))
