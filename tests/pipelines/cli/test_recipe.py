"""What a recipe may say, what one says, and a copy of one that ships."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipelines.cli.app import app
from pipelines.cli.recipe import MODELS
from schemas.errors import UsageError
from schemas.output_set.recipe_layers import merge_layers, read_layers
from tests.conftest import REPOSITORY
from training.recipe import load_train_recipe

SHIPPED = sorted(path for path in (REPOSITORY / "recipes").rglob("*.yaml"))


OVER_A_BASE = REPOSITORY / "recipes/train/mm1/sft_7b.yaml"
"""One of many, which `tests/test_paper_recipes.py` loads."""


HALVES = {"task": "prompt", "tasks": "tasks"}
"""An option of each kind that has no `run`, because no output set stores it."""


def has_no_base(path: Path) -> bool:
    return len(read_layers(str(path))) == 1


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["recipe", *arguments])


@pytest.mark.parametrize("kind", MODELS)
def test_a_schema_names_every_option(kind: str) -> None:
    found = json.loads(call("schema", kind).stdout)
    assert found["additionalProperties"] is (kind == "render"), "a family of captions has options of its own"
    assert HALVES.get(kind, "run") in found["properties"]


@pytest.mark.parametrize("path", [*filter(has_no_base, SHIPPED), OVER_A_BASE], ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_valid_and_shown_whole(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what is shown names paths from here
    kind = merge_layers(read_layers(str(path)))["kind"]
    given = ["input=x/*"] if kind in ("annotate", "download", "render") else []  # which name none
    assert call("check", str(path), *given).stdout == f"{path}: a valid recipe of the kind {kind}\n"
    Path("shown.yaml").write_text(call("show", str(path), *given).stdout)
    assert call("show", "shown.yaml").stdout == Path("shown.yaml").read_text()
    assert yaml.safe_load(Path("shown.yaml").read_text())[HALVES.get(kind, "run")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: mix\nweigths: {}\n", "unknown key weigths"),
        ("kind: mixture\n", "no recipe is of the kind 'mixture': use one of select, .*, train"),
        ("weights: {}\n", "names no kind: add `kind: KIND`, one of select, .*, train"),
        ("[]", "is not a mapping"),
        ("base: none.yaml\n", r"^recipe \S+/r\.yaml: base: there is no file \S+/none\.yaml$"),
        ("kind: mix\nbase: r.yaml\n", r"^recipe \S+/r\.yaml: base: .* is a circle$"),
        ("kind: download\nimage_size: big\n", "image_size: .*, not 'big'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, ["recipe", "check", str(path)], catch_exceptions=False, standalone_mode=False)


def test_a_recipe_that_ships_is_copied_with_what_it_names(tmp_path: Path) -> None:
    listed = [line.split()[0] for line in call("copy").stdout.splitlines()]
    assert listed == [str(path.relative_to(REPOSITORY / "recipes").with_suffix("")) for path in SHIPPED]
    done = call("copy", "train/tiny", "--output", str(tmp_path / "new"))
    assert done.stdout.split() == [f"{tmp_path}/new/tiny.yaml", f"{tmp_path}/new/tiny/tokenizer.json"]
    assert (tmp_path / "new/tiny.yaml").read_bytes() == (REPOSITORY / "recipes/train/tiny.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"tiny\.yaml already exists: remove it, or pass another --output"):
        CliRunner().invoke(
            app,
            ["recipe", "copy", "train/tiny", "-o", str(tmp_path / "new")],
            catch_exceptions=False,
            standalone_mode=False,
        )
    with pytest.raises(UsageError, match=r"Shardloom ships no recipe '\.\./\.\./etc/passwd': use one of annotate, .*"):
        CliRunner().invoke(app, ["recipe", "copy", "../../etc/passwd"], catch_exceptions=False, standalone_mode=False)


def test_a_recipe_is_copied_with_its_bases_in_the_same_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("copy", "train/xgen_mm/table7_64_tokens", "--output", "new")
    assert done.stdout.split() == [
        f"new/{name}.yaml" for name in ("xgen_mm/table7_64_tokens", "xgen_mm/ablation", "pretrain_4b")
    ]
    copied = load_train_recipe("new/xgen_mm/table7_64_tokens.yaml")
    shipped = load_train_recipe(str(REPOSITORY / "recipes/train/xgen_mm/table7_64_tokens.yaml"))
    assert copied.model == shipped.model
    assert copied.data.sources["obelics"] == ["new/sets/obelics"], "of the file that names it"
    assert call("copy", "train/xgen_mm/table6_siglip", "--output", "new").stdout == "new/xgen_mm/table6_siglip.yaml\n"
    with pytest.raises(UsageError, match=r"^new/xgen_mm/ablation\.yaml already exists: remove it, or pass another"):
        CliRunner().invoke(
            app,
            ["recipe", "copy", "train/xgen_mm/ablation", "-o", "new"],
            catch_exceptions=False,
            standalone_mode=False,
        )


def test_recipes_share_the_files_that_they_name(tmp_path: Path) -> None:
    """One that is there already is kept, because the user may have changed it."""
    folder = str(tmp_path / "kale")
    done = call("copy", "kale/stage1", "--output", folder)
    assert done.stdout.split() == [
        f"{folder}/{name}" for name in ("stage1.yaml", "prompts/dense.txt", "prompts/knowledge.txt")
    ]
    (tmp_path / "kale/prompts/dense.txt").write_text("My own words.")
    done = call("copy", "kale/captions", "--output", folder)
    new = ("captioner_grounded", "kale_leaks", "knowledge_grounded")
    assert done.stdout.split() == [f"{folder}/captions.yaml", *(f"{folder}/prompts/{name}.txt" for name in new)]
    assert (tmp_path / "kale/prompts/dense.txt").read_text() == "My own words."


def test_a_copied_training_recipe_finds_its_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call("copy", "train/tiny", "--output", "new")
    assert load_train_recipe("new/tiny.yaml").model.tokenizer == "new/tiny/tokenizer.json"
    (tmp_path / "other.yaml").write_bytes((tmp_path / "new/tiny.yaml").read_bytes())
    assert load_train_recipe("other.yaml").model.tokenizer == "tiny/tokenizer.json", "there is none beside it"
