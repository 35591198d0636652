"""A checkpoint serves as an export does: it is exported, generated with, and trained on from."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import UsageError
from tests.conftest import jpeg
from tests.training.support import runs, tiny
from training.checkpoint import COMMIT_FILE, load_checkpoint, open_checkpoint
from training.checkpoint_model import load_model, read_checkpoint_recipe
from training.dry_run import dry_run
from training.export import export_checkpoint
from training.exports.formats import ExportFormat
from training.inference import answer_prompt
from training.loop import train
from training.model.generate import GenerateOptions
from training.parallel import Ranks
from training.recipe import TrainRecipe
from training.set_up import prepare_model


@pytest.fixture(scope="module")
def asked(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    """Trained already, in two steps with a checkpoint each."""
    folder = tmp_path_factory.mktemp("export")
    asked = runs.packed(folder, tokenizer, steps=2, checkpoint={"every": 1}, run={"output": str(folder / "run")})
    train(asked)
    return asked


@pytest.fixture(scope="module")
def run(asked: TrainRecipe) -> Path:
    return Path(str(asked.run.output))


def checkpoint(run: Path, step: int) -> Path:
    return run / f"checkpoints/step-{step:08d}"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copied(run: Path, folder: Path, **changes: object) -> Path:
    """The second checkpoint alone, with changes to its commit."""
    shutil.copytree(checkpoint(run, 2), checkpoint(folder, 2))
    path = checkpoint(folder, 2) / COMMIT_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_the_last_checkpoint_gives_the_export_of_the_run(run: Path, tmp_path: Path) -> None:
    exported = export_checkpoint(str(run))
    assert exported == run / "model-step-00000002"
    assert contents(exported) == contents(run / "model")
    stopped = copied(run, tmp_path / "stopped")
    assert export_checkpoint(str(stopped)) == stopped / "model"
    assert contents(stopped / "model") == contents(run / "model")


def test_an_earlier_checkpoint(run: Path, asked: TrainRecipe, tmp_path: Path) -> None:
    held = runs.trainer(asked)
    load_checkpoint(open_checkpoint(checkpoint(run, 1), Ranks()), held.model, held.optimizer, Ranks())
    expected = held.model.state_dict()
    for number, named in enumerate([(str(run), 1), (str(checkpoint(run, 1)), None)]):
        folder = export_checkpoint(*named, output=str(tmp_path / str(number)))
        found = load_file(folder / "model.safetensors")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
        assert contents(folder)["model.safetensors"] != contents(run / "model")["model.safetensors"]


def test_half_precision(run: Path, tmp_path: Path) -> None:
    folder = export_checkpoint(str(run), dtype="bf16", output=str(tmp_path / "model"))
    whole, half = (load_file(one / "model.safetensors") for one in (run / "model", folder))
    assert {tensor.dtype for tensor in half.values()} == {torch.bfloat16}
    assert all(torch.equal(half[name], tensor.to(torch.bfloat16)) for name, tensor in whole.items())
    loaded = load_model(folder)
    assert all(torch.equal(tensor.to(torch.bfloat16), half[name]) for name, tensor in loaded.model.named_parameters())


@pytest.mark.parametrize("kind", ["hf", "xgen-mm"])
def test_other_formats_hold_the_same_weights(run: Path, tmp_path: Path, kind: ExportFormat) -> None:
    """Whether of a checkpoint or of the run's own export, which is that of the last one."""
    of_checkpoint = export_checkpoint(str(run), output=str(tmp_path / "checkpoint"), kind=kind)
    of_export = export_checkpoint(str(run / "model"), output=str(tmp_path / "export"), kind=kind)
    assert contents(of_checkpoint) == contents(of_export)
    half = export_checkpoint(str(run / "model"), dtype="bf16", output=str(tmp_path / "half"), kind=kind)
    whole, rounded = (load_file(one / "model.safetensors") for one in (of_export, half))
    assert all(torch.equal(rounded[name], tensor.to(torch.bfloat16)) for name, tensor in whole.items())


def test_a_format_is_checked_before_weights_are_read(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    for folder in (tmp_path / "model", copied(run, tmp_path / "changed", frozen="0" * 64)):
        with pytest.raises(UsageError, match=r"^export: --format llava needs connector kind: mlp, and this model has"):
            export_checkpoint(str(folder), kind="llava")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["changed", "model"]
    with pytest.raises(UsageError, match=rf"^export: {run} exists and is not empty; pass a new folder$"):
        export_checkpoint(str(run / "model"), output=str(run), kind="hf")


def test_an_export_is_rounded(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    folder = export_checkpoint(str(tmp_path / "model"), dtype="bf16")
    assert folder == tmp_path / "model-bf16"
    whole, half = (load_file(one / "model.safetensors") for one in (run / "model", folder))
    assert all(torch.equal(half[name], tensor.to(torch.bfloat16)) for name, tensor in whole.items())
    assert contents(folder)["config.json"] == contents(run / "model")["config.json"]
    assert contents(export_checkpoint(str(folder), output=str(tmp_path / "again"))).keys() == contents(folder).keys()


def test_what_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^export: --output s3://bucket/model: a model is written to a folder on a"):
        export_checkpoint(str(run), output="s3://bucket/model")
    shutil.copytree(run / "model", tmp_path / "ended/model")
    with pytest.raises(UsageError, match=r"ended is neither a run .*; pass .*ended/model, its export$"):
        export_checkpoint(str(tmp_path / "ended"))
    shutil.rmtree(tmp_path / "ended")
    with pytest.raises(UsageError, match=r"run has no checkpoint of step 3, only step-00000001, step-00000002$"):
        export_checkpoint(str(run), 3)
    with pytest.raises(UsageError, match=rf"^export: {tmp_path} is neither a run with checkpoints nor a checkpoint; "):
        export_checkpoint(str(tmp_path))
    with pytest.raises(UsageError, match=rf"^export: {run} exists and is not empty; pass a new folder$"):
        export_checkpoint(str(run), output=str(run))
    changed = copied(run, tmp_path / "changed", frozen="0" * 64)
    with pytest.raises(UsageError, match=r"00000002: the frozen weights are not those of its run; restore them$"):
        export_checkpoint(str(changed))


def test_a_run_starts_from_a_checkpoint(run: Path, asked: TrainRecipe, tokenizer: Path, tmp_path: Path) -> None:
    started = runs.recipe(tokenizer, init_from=str(checkpoint(run, 2)), data=asked.data.model_dump())
    exported = load_model(run / "model").model.state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in prepare_model(started).state_dict().items())
    assert "parameters  177,523, of which 132,499 are trained" in next(dry_run(started))
    again = copied(run, tmp_path / "again", recipe=started.resolve())  # as of a run that began so
    assert load_model(checkpoint(again, 2)).model.state_dict().keys() == exported.keys()
    larger = tiny.options(tokenizer, connector=tiny.CONNECTOR | {"latents": 8}).model_dump()
    for device in ("cpu", "meta"):
        with pytest.raises(UsageError, match=r"00000002 is another model: connector\.latents is 4 there and 8 here; "):
            prepare_model(started.model_copy(update={"model": runs.recipe(tokenizer, model=larger).model}), device)


def test_a_checkpoint_answers_as_its_export(run: Path, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(jpeg(0))
    options = GenerateOptions(max_new_tokens=5)
    said = [
        answer_prompt(str(folder), "What is it?", [str(tmp_path / "0.jpg")], options, chat=True, device="cpu")
        for folder in (checkpoint(run, 2), run / "model", checkpoint(run, 1))
    ]
    assert said[0] == said[1]


def test_paths_are_taken_from_where_the_run_started(run: Path, asked: TrainRecipe, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    recipe = asked.resolve() | {"init_from": "started/model"}
    for folder, expected in (
        (tmp_path / "here", f"{tmp_path}/here/started/model"),
        (tmp_path / "gone", "started/model"),
    ):
        held = copied(run, tmp_path / f"run-{folder.name}", recipe=recipe, working_folder=str(folder))
        found = read_checkpoint_recipe(open_checkpoint(checkpoint(held, 2), Ranks()))
        assert found.init_from == expected
    assert open_checkpoint(checkpoint(run, 2), Ranks()).state.working_folder == str(Path.cwd())
