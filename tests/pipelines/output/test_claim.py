"""One folder for one recipe: what it holds is named where it is another's."""

import re
from pathlib import Path

import pytest

from pipelines.output.claim import claim, is_claimed
from pipelines.output.writer import commit
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import Recipe, RunOptions
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.select import SelectRecipe
from schemas.errors import UsageError
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, read_stored_recipe
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import opened

ANNOTATE = {"input": "shards/*.tar", "engines": {"ocr": {"engine": "rapidocr"}}}


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    recipe = RenderRecipe(input="a", min_confidence=0.5)
    claim(folder, recipe)
    assert read_stored_recipe(folder) == recipe.resolve()
    before = (tmp_path / "out/recipe.yaml").stat().st_mtime_ns
    claim(folder, recipe.model_copy(update={"run": RunOptions(workers=7)}))
    assert (tmp_path / "out/recipe.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (RenderRecipe(input="b"), "input is 'a' there and 'b' here"),
        (RenderRecipe(input="a", granularities=[0]), r"granularities is \[0, 1, 2, 3, 4, 5\] there and \[0\] here"),
        (RenderRecipe(input="b", min_lines=2), "input is 'a' there and 'b' here; min_lines is 1 there and 2 here"),
        (
            RenderRecipe(input="b", granularities=[0], min_lines=2),
            r"input is 'a' there and 'b' here; granularities is \[.*\] there and \[0\] here; min_lines is 1 .* 2 here",
        ),
        (
            RenderRecipe(input="b", granularities=[0], min_lines=2, min_confidence=0.5),
            r"(\w+ is .* there and .* here; ){3}and 1 more",
        ),
    ],
)
def test_another_recipe_is_refused_by_field(tmp_path: Path, other: Recipe, named: str) -> None:
    folder = Folder(str(tmp_path))
    claim(folder, RenderRecipe(input="a"))
    line = rf"{re.escape(str(tmp_path))} holds another recipe \({named}\): use a new output folder"
    with pytest.raises(UsageError) as error:
        claim(folder, other)
    assert re.fullmatch(line, str(error.value)), str(error.value)


def test_a_set_of_another_kind_is_named(tmp_path: Path) -> None:
    claim(Folder(str(tmp_path)), RenderRecipe(input="a"))
    with pytest.raises(UsageError) as error:
        claim(Folder(str(tmp_path)), AnnotateRecipe.model_validate(ANNOTATE))
    assert str(error.value) == f"{tmp_path} is a render set, not an annotate set: use a new output folder"


def test_a_nested_difference_is_named(tmp_path: Path) -> None:
    recipes = [AnnotateRecipe.model_validate(ANNOTATE | {"chunk": {"samples": samples}}) for samples in (4, 8)]
    claim(Folder(str(tmp_path)), recipes[0])
    with pytest.raises(UsageError, match=r"\(chunk\.samples is 4 there and 8 here\)"):
        claim(Folder(str(tmp_path)), recipes[1])


@pytest.mark.parametrize("name", ["photo.jpg", "parts/photo.jpg"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_bytes(b"?")
    with pytest.raises(UsageError, match=r"is not empty and holds no recipe\.yaml: use a new output folder"):
        claim(Folder(str(tmp_path)), RenderRecipe(input="a"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


def test_an_empty_folder_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg.tmp-1234").touch()  # of a writer that was killed
    claim(Folder(str(tmp_path)), RenderRecipe(input="a"))
    assert (tmp_path / "recipe.yaml").exists()


@pytest.mark.parametrize("damaged", [b"", b"kind: [", b"\xff\xfe", b"- a list", b"[" * 5000])
def test_a_damaged_recipe_is_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(damaged)
    with pytest.raises(UsageError, match=r"/recipe\.yaml is damaged: it is not a YAML mapping"):
        claim(Folder(str(tmp_path)), RenderRecipe(input="a"))


def test_a_cut_recipe_of_committed_outputs_is_written_again(tmp_path: Path) -> None:
    """A part of it may be YAML still, which looks like the recipe of another run."""
    output, recipe = Folder(str(tmp_path)), RenderRecipe(input="a", min_confidence=0.5)
    claim(output, recipe)
    whole = output.read(RECIPE_FILE)
    commit(output, Manifest.build("0", recipe.compute_sha256(), inputs=[], rows_in=0, data=None, others=[]))
    for length in range(len(whole)):
        output.write(RECIPE_FILE, whole[:length])
        claim(output, recipe)
        assert output.read(RECIPE_FILE) == whole
    for left in (b"kind: mix\n", b"kind: render\n"):
        output.write(RECIPE_FILE, left)
        with pytest.raises(UsageError, match=r"use a new output folder"):
            claim(output, RenderRecipe(input="b"))


def test_two_runs_may_not_write_to_one_folder(tmp_path: Path) -> None:
    folder, recipe = Folder(str(tmp_path / "out")), RenderRecipe(input="a")
    with (
        opened(folder, recipe),
        pytest.raises(UsageError, match=r"is writing to .*/out: wait for it"),
        opened(folder, recipe),
    ):
        pass
    with opened(folder, recipe):
        pass


def test_no_secret_of_a_url_is_stored_and_older_sets_that_hold_one_go_on(tmp_path: Path) -> None:
    """A password that was changed since is no other recipe."""
    for recipe in (RenderRecipe(input="sftp://me:hidden@host/a"), SelectRecipe(input=["https://host/a?sig=hidden"])):
        output = Folder(str(tmp_path / recipe.kind))
        claim(output, recipe)
        assert b"hidden" not in output.read(RECIPE_FILE)
        held = output.read(RECIPE_FILE).replace(b"***@", b"me:older@").replace(b"?***", b"?sig=older")
        assert b"older" in held
        output.write(RECIPE_FILE, held)
        assert is_claimed(output, recipe)


def test_two_runs_write_the_recipe_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other writes it between this one's look and its own attempt."""
    folder, recipe = Folder(str(tmp_path)), RenderRecipe(input="a")
    real = Folder.exists
    looks: list[str] = []

    def look_before_it_is_written(self: Folder, name: str = "") -> bool:
        looks.append(name)
        found = real(self, name)
        if looks == [RECIPE_FILE] * len(looks) and not found:
            with monkeypatch.context() as patch:
                patch.setattr(Folder, "exists", real)
                claim(Folder(str(tmp_path)), recipe)
        return found

    monkeypatch.setattr(Folder, "exists", look_before_it_is_written)
    assert is_claimed(folder, recipe), "found in a folder that was not empty"
    (tmp_path / RECIPE_FILE).unlink()
    monkeypatch.setattr(Folder, "is_empty", lambda *_, **__: True)
    looks.clear()
    claim(folder, recipe)
    (tmp_path / RECIPE_FILE).unlink()
    looks.clear()
    with pytest.raises(UsageError, match=r" holds another recipe \(input is 'a' there and 'b' here\)"):
        claim(folder, RenderRecipe(input="b"))
