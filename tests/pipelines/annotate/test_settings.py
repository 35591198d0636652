"""Settings that are younger than some sets: a new set stores them, and an older one keeps the recipe that it stores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.engines.stages import StageName
from pipelines.annotate.pools import plan_pools
from pipelines.annotate.reuse import find_reuse
from pipelines.annotate.settings import settle_settings
from pipelines.cluster.runner import ExecutionMode, Runner
from pipelines.inputs.shards import list_input_shards
from pipelines.output.claim import claim, is_claimed
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from pipelines.recipes.base import RunOptions, load_recipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import dump_yaml, read_stored_recipe
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY

OLD = REPOSITORY / "tests/support/old_sets"
TAGS = {"tags": {"engine": "caption"}}


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A set of `annotate ocr` that is older than the option `reading_order`; the working folder has its images."""
    shutil.copytree(OLD / "annotations", tmp_path / "annotations")
    shutil.copytree(OLD / "images", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return Folder("annotations")


def recipe(settings: dict[str, Any] | None = None, engine: str = "rapidocr", **options: Any) -> AnnotateRecipe:
    """The recipe of `annotate ocr`, with other engines where `options` have them."""
    engines: dict[str, Any] = {"ocr": {"engine": engine, "settings": settings or {}}} | options.pop("engines", {})
    return load_recipe(AnnotateRecipe, None, {"input": "images/*.tar", "engines": engines} | options)


def settle(asked: AnnotateRecipe, output: Folder) -> dict[StageName, dict[str, Any]]:
    """The settings of each engine, which are the same when the run is started again."""
    settled = settle_settings(asked, output)
    if not output.exists("recipe.yaml"):
        claim(output, settled)
    assert is_claimed(output, settle_settings(asked, output))
    return {stage: options.settings for stage, options in settled.engines.list_stages().items()}


def find_reused(asked: AnnotateRecipe) -> list[StageName]:
    """The engines that need not run again for the set `more`."""
    reuse = find_reuse(settle_settings(asked, Folder("more")), list_input_shards(["images/*.tar"], ".tar"))
    assert reuse is not None
    return reuse.stages


@pytest.mark.parametrize("engine", ["rapidocr", "paddleocr"])
def test_a_new_set_stores_its_order(engine: str, tmp_path: Path) -> None:
    assert settle(recipe({"max_side": 900}, engine), Folder(str(tmp_path / "a"))) == {
        "ocr": {"max_side": 900, "reading_order": "columns"}
    }
    for order in ("columns", "lines"):
        asked = recipe({"reading_order": order}, engine)
        assert settle(asked, Folder(str(tmp_path / order))) == {"ocr": {"reading_order": order}}
        stored: Any = read_stored_recipe(Folder(str(tmp_path / order)))
        assert stored["engines"]["ocr"]["settings"] == {"reading_order": order}
    with pytest.raises(
        UsageError, match=r"\(engines\.ocr\.settings\.reading_order is 'lines' there and 'columns' here"
    ):
        is_claimed(
            Folder(str(tmp_path / "lines")), settle_settings(recipe({}, engine), Folder(str(tmp_path / "lines")))
        )


def test_engines_without_such_settings_are_left_alone(tmp_path: Path) -> None:
    tags = {"engine": "caption", "settings": {"vocabulary": None}}
    asked = load_recipe(AnnotateRecipe, None, {"input": "x", "engines": {"tags": tags}})
    assert settle_settings(asked, Folder(str(tmp_path))) == asked


@pytest.mark.parametrize("asked", [{}, {"reading_order": "lines"}])
def test_an_older_set_keeps_its_recipe_and_its_order(asked: dict[str, Any], older: Folder) -> None:
    stored = older.read("recipe.yaml")
    assert settle(recipe(asked), older) == {"ocr": {}}
    settled = settle_settings(recipe(asked), older)
    assert dump_yaml(settled.resolve()) == stored
    manifest = json.loads(older.read("manifests/00000000.json"))
    assert settled.compute_sha256() == manifest["recipe_sha256"]
    (pool,) = plan_pools(settled, Runner(RunOptions(), ExecutionMode.LOCAL_CLUSTER))
    assert pool.options == EngineOptions(engine="rapidocr", settings={"reading_order": "lines"})


@pytest.mark.parametrize("damaged", [None, b"", b"kind: ["])
def test_an_older_set_whose_recipe_is_lost_is_known_by_its_hash(damaged: bytes | None, older: Folder) -> None:
    stored = older.read("recipe.yaml")
    older.remove("recipe.yaml")
    if damaged is not None:
        older.write("recipe.yaml", damaged)
    settled = settle_settings(recipe(), older)
    claim(older, settled)
    assert older.read("recipe.yaml") == stored


def test_an_older_set_has_one_order(older: Folder) -> None:
    with pytest.raises(UsageError) as error:
        settle_settings(recipe({"reading_order": "columns"}), older)
    assert str(error.value) == (
        "annotations holds another recipe (engines.ocr.settings.reading_order is 'lines' there and 'columns' here): "
        "set it to 'lines', or take a new output folder"
    )


@pytest.mark.parametrize("kind", ["captions", "tags"])
def test_a_set_of_something_else_is_still_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(OLD)
    named = {"captions": "captions is a render set, not an annotate set", "tags": "tags holds another recipe "}
    with pytest.raises(UsageError, match=named[kind]):
        is_claimed(Folder(kind), settle_settings(recipe(), Folder(kind)))


@pytest.mark.usefixtures("older")
def test_annotations_that_are_reused_keep_their_order() -> None:
    """Those of an older set are in rows, and the new set says so."""
    asked = recipe(engines=TAGS, run={"reuse": "annotations"})
    assert settle(asked, Folder("more")) == {"ocr": {"reading_order": "lines"}, "tags": {}}
    assert find_reused(asked) == ["ocr"]


@pytest.mark.usefixtures("older")
def test_a_set_to_which_an_older_version_began_to_add_is_continued() -> None:
    Folder("more").write("recipe.yaml", dump_yaml(recipe(engines=TAGS).resolve()))
    asked = recipe(engines=TAGS, run={"reuse": "annotations"})
    assert settle(asked, Folder("more")) == {"ocr": {}, "tags": {}}
    assert find_reused(asked) == ["ocr"]


@pytest.mark.usefixtures("older")
def test_an_engine_that_runs_again_has_the_new_order() -> None:
    """Its settings differ from those of the set that other annotations are taken from."""
    asked = recipe({"max_side": 900}, engines=TAGS, run={"reuse": "annotations"})
    assert settle(asked, Folder("more"))["ocr"] == {"max_side": 900, "reading_order": "columns"}
