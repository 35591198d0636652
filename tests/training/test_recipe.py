"""Recipes of training: what is laid over them, what is refused, and what decides whether two are of one run."""

from pathlib import Path

import pytest
import yaml

from schemas.errors import UsageError
from schemas.output_set.recipe_file import dump_yaml
from tests.training.support import runs
from training.model.connectors.perceiver import PerceiverOptions
from training.recipe import TrainRecipe, find_resume_conflicts, load_train_recipe, require_output_folder
from training.set_up import check_batch_size


@pytest.fixture
def path(tokenizer: Path, tmp_path: Path) -> str:
    return str(runs.written(tmp_path, runs.recipe(tokenizer)))


def test_overrides(path: str) -> None:
    changes = ["steps=7", "optimizer.lr.language=1e-4", "data.repeats={texts: null}", "run.log_to=[tensorboard]"]
    found = load_train_recipe(path, [*changes, "init_from=null", "loss_weights.texts=0.2"], output="a: b")
    assert found.steps == 7
    assert found.optimizer.lr.language == 1e-4
    assert found.optimizer.lr.connector == 1e-3
    assert found.data.repeats == {"texts": None}
    assert found.run.log_to == ("tensorboard",)
    assert found.loss_weights == {"texts": 0.2}
    assert found.run.output == "a: b"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("step=7", "unknown key step"),
        ("optimizer.lr.head=1", "unknown key optimizer.lr.head"),
        ("steps=many", "steps: input should be a valid integer, unable to parse string as an integer, not 'many'"),
        ("steps", "'steps' is not key=value, such as run.workers=4"),
        ("optimizer..lr=1", "'optimizer..lr=1' is not key=value, such as run.workers=4"),
        ("steps=null", "epochs: give either steps or epochs; steps=null or epochs=null takes one back"),
        ("epochs=2", "epochs: give either steps or epochs; steps=null or epochs=null takes one back"),
        ("epochs=0", "epochs: input should be greater than 0, not 0"),
        ("steps.more=1", "recipe: steps: input should be a mapping, not 4"),
        ("steps={", "steps: '{' is not valid YAML"),
        ("loss_weights={cats: 2}", "loss_weights: there is no source 'cats'"),
        ("kind=mix", "kind: input should be 'train', not 'mix'"),
        ("model.connector.latent=4", "unknown key model.connector.latent"),
        ("model.connector.depth=0", "model.connector.depth: input should be greater than 0, not 0"),
        ("model.connector.kind=qformer", "model.connector: there is no kind 'qformer': use perceiver"),
        ("model.connector.kind=[xdp]", "model.connector: there is no kind ['xdp']: use perceiver"),
        ("model.connector=4", "model.connector: input should be a mapping, not 4"),
        ("optimizer.lr.language=-1", "optimizer.lr.language: input should be greater than or equal to 0, not -1"),
    ],
)
def test_what_is_refused(path: str, override: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_train_recipe(path, [override])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_epochs_of_sources_without_a_limit(path: str) -> None:
    changes = ["steps=null", "epochs=2", "data.repeats={texts: null, pictures: 3}"]
    with pytest.raises(UsageError) as raised:
        load_train_recipe(path, changes)
    assert str(raised.value) == (
        f"recipe {path}: epochs: data.repeats has no limit for texts, so that no pass through the data ends: "
        "give steps, or a number of repeats"
    )
    found = load_train_recipe(path, [*changes[:2], "data.repeats={texts: 3}", "data.stop=100"])
    assert found.data.repeat(found.epochs or 1).repeats == {"pictures": 2, "texts": 6}
    assert found.data.repeat(2).stop == 200
    assert found.data.repeat(1) == found.data


def test_a_recipe_of_another_kind() -> None:
    with pytest.raises(UsageError, match=r"recipes/demo.yaml is of the kind 'mix', not 'train'"):
        load_train_recipe(str(runs.REPOSITORY / "recipes/demo.yaml"))


def test_what_decides(tokenizer: Path) -> None:
    one = runs.recipe(tokenizer)
    held = one.resolve()
    assert TrainRecipe.model_validate(held) == one
    free = {
        "run": {"output": "x"},
        "micro_batch_size": 2,
        "parallel": "ddp",
        "compile": True,
        "checkpoint": {"every": 3},
    }
    data = one.data.model_dump() | {"workers": 7, "prefetch": 5, "cache": "y", "max_bad_samples": 0.5}
    assert find_resume_conflicts(held, runs.recipe(tokenizer, data=data, **free).resolve()) == []
    assert (
        find_resume_conflicts(held | {"data": held["data"] | {"max_bad_samples": 0.1}}, held) == []
    )  # by whoever wrote it
    other = runs.recipe(tokenizer, seed=1, data=one.data.model_dump() | {"seed": 4})
    assert find_resume_conflicts(held, other.resolve()) == [
        "data.seed is 0 there and 4 here",
        "seed is 0 there and 1 here",
    ]


def test_a_stored_recipe_holds_no_secret_and_its_run_resumes(path: str) -> None:
    secrets = ["data.sources.texts=[s3://KEY:SECRET@bucket/ocr, 'https://host/set?sig=SECRET']"]
    asked = load_train_recipe(path, secrets)
    stored = asked.resolve()
    assert stored["data"]["sources"]["texts"] == ["s3://***@bucket/ocr", "https://host/set?***"]
    assert asked.data.sources["texts"] == ["s3://KEY:SECRET@bucket/ocr", "https://host/set?sig=SECRET"]
    assert b"SECRET" not in asked.to_yaml()
    assert find_resume_conflicts(yaml.safe_load(dump_yaml(stored)), asked.resolve()) == []
    assert find_resume_conflicts(asked.model_dump(mode="json"), asked.resolve()) == []  # of an older version
    assert find_resume_conflicts(stored, load_train_recipe(path, [f"{secrets[0][:-1]}, s3://b/more]"]).resolve()) != []


def test_a_recipe_over_a_base_is_the_whole_one(path: str, tmp_path: Path) -> None:
    """In what is stored, and so for a run that one of them began and the other resumes."""
    above = {"base": "asked.yaml", "steps": 7, "optimizer": {"lr": {"language": 0}}, "data": {"repeats": {"texts": 2}}}
    (tmp_path / "above.yaml").write_text(yaml.safe_dump(above | {"without": ["data.sources.pictures"]}))
    changes = ["steps=7", "optimizer.lr.language=0", "data.repeats={texts: 2}"]
    flat = load_train_recipe(path, [*changes, "data.sources={texts: nowhere}", "data.weights={texts: 1}"])
    found = load_train_recipe(str(tmp_path / "above.yaml"), ["data.weights={texts: 1}", "data.sources.texts=nowhere"])
    assert found == flat
    assert dump_yaml(found.resolve()) == dump_yaml(flat.resolve())
    assert find_resume_conflicts(flat.resolve(), found.resolve()) == []
    with pytest.raises(UsageError, match=r"above\.yaml: data\.weights: there is no source 'pictures'; sources: texts$"):
        load_train_recipe(str(tmp_path / "above.yaml"))
    with pytest.raises(UsageError, match=r"above\.yaml: unknown key base$"):
        load_train_recipe(str(tmp_path / "above.yaml"), [*changes, "data.weights={texts: 1}", "base=x.yaml"])


def test_output(tokenizer: Path) -> None:
    with pytest.raises(UsageError, match=r"no output folder: pass --output, or set run\.output in the recipe"):
        require_output_folder(runs.recipe(tokenizer))
    with pytest.raises(UsageError, match="a run's folder must be on a disk that all ranks see, not at a URL"):
        require_output_folder(runs.recipe(tokenizer, run={"output": "s3://bucket/run"}))


def test_batch_that_cannot_be_shared_out(tokenizer: Path) -> None:
    said = "global_batch_size: 6 can't be divided into micro-batches of 2 on 2 ranks; make it a multiple of 4"
    with pytest.raises(UsageError, match=said):
        check_batch_size(runs.recipe(tokenizer, global_batch_size=6, micro_batch_size=2), 2)


@pytest.mark.parametrize("name", ["tiny", "pretrain_4b", "sft_anyres", "xmodel_1b"])
def test_recipes_that_ship(name: str) -> None:
    found = load_train_recipe(str(runs.REPOSITORY / f"recipes/train/{name}.yaml"))
    assert sum(found.data.shares.values()) == 1
    check_batch_size(found, 2 if name == "tiny" else 8)


def test_pre_training_is_the_papers() -> None:
    path = runs.REPOSITORY / "recipes/train/pretrain_4b.yaml"
    found = load_train_recipe(str(path))
    mixed = runs.REPOSITORY / "recipes/blip3_stage1.yaml"
    theirs = yaml.safe_load(mixed.read_text())
    assert found.data.sources == {name: [f"{path.parent}/{where}"] for name, where in sorted(theirs["sources"].items())}
    assert found.data.weights == theirs["weights"]
    assert found.model.connector == PerceiverOptions()
    assert found.steps is not None
    assert round(found.steps * found.global_batch_size * found.data.sequence_length / 1e9) == 101
