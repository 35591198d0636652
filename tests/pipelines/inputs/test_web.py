"""What is read from a web server gives the same bytes as from a disk, and no secret of its address is kept."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.selection.rules import SelectionRules
from pipelines.recipes.base import RunOptions
from pipelines.recipes.select import SelectRecipe, SelectRun
from pipelines.recipes.shard import ShardRecipe
from pipelines.select.run import select
from pipelines.shard.run import shard
from pipelines.verify.run import verify
from schemas.errors import UsageError
from tests.pipelines.support.metadata import write_metadata
from tests.pipelines.support.sets import annotation_set, caption_set
from tests.schemas.support.web_files import served_files


def data_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "data").iterdir()}


def test_shards_and_metadata_may_lie_on_a_web_server(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "www/images", shards=2, samples=5)
    write_metadata(tmp_path / "www/a.parquet", [f"https://a.example/{number}" for number in range(5)])
    captions = str(caption_set(annotation_set(images, tmp_path / "annotations"), tmp_path / "captions"))
    with served_files(tmp_path / "www") as server:
        for name, root in (("here", f"{tmp_path}/www"), ("there", server.replace("//", "//me:hidden@"))):
            shard(
                ShardRecipe(images=[f"{root}/images/*.tar"], captions=captions, run=RunOptions(workers=1)),
                str(tmp_path / name),
            )
            rules = SelectionRules(min_side=10)
            recipe = SelectRecipe(input=[f"{root}/a.parquet"], rules=rules, run=SelectRun(workers=1))
            for _ in range(2):  # the second finds its input unchanged
                select(recipe, str(tmp_path / f"{name}_chosen"))
    for name in ("", "_chosen"):
        assert data_of(tmp_path / f"here{name}") == data_of(tmp_path / f"there{name}")
        kept = [path for path in (tmp_path / f"there{name}").rglob("*") if path.is_file()]
        assert kept
        assert [path for path in kept if b"me:hidden" in path.read_bytes()] == []
    manifest = json.loads((tmp_path / "there_chosen/manifests/a.json").read_bytes())
    assert manifest["inputs"][0]["path"] == f"{server.replace('//', '//***@')}/a.parquet"


def test_a_set_by_reference_names_tars_on_a_web_server(make_shards: Callable[..., str], tmp_path: Path) -> None:
    """The user names the server each time, and is told at once that the query of an address is not kept."""
    images = make_shards(tmp_path / "www/images", shards=2, samples=5)
    captions = str(caption_set(annotation_set(images, tmp_path / "annotations"), tmp_path / "captions"))
    output = str(tmp_path / "out")
    with served_files(tmp_path / "www") as server:
        recipe = ShardRecipe(
            images=[f"{server}/images/*.tar"], captions=captions, by_reference=True, run=RunOptions(workers=1)
        )
        shard(recipe, output)
        assert verify(output, [f"{server}/images"]) == (1, [])
        (fault,) = verify(output)[1]
        assert fault.startswith(f"{output}: its images are at {server}/images, a server that only the set names: ")
        signed = recipe.model_copy(update={"images": [f"{server}/images/00000000.tar?name=/00000000.tar"]})
        with pytest.raises(
            UsageError, match=rf"^{server}/images/00000000\.tar\?\*\*\*: a set by reference stores no query"
        ):
            shard(signed, str(tmp_path / "signed"))
    assert not (tmp_path / "signed").exists()


def test_nothing_is_written_to_a_web_server(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "a.parquet", ["https://a.example/1"])
    with pytest.raises(UsageError, match=r"^https://\*\*\*@a\.example/out: a web server cannot store output"):
        select(SelectRecipe(input=[path], run=SelectRun(workers=1)), "https://me:x@a.example/out")


def test_a_secret_that_was_left_out_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"^https://\*\*\*@a\.example/x: its secret was masked when it was stored"):
        select(SelectRecipe(input=["https://***@a.example/x"], run=SelectRun(workers=1)), "/tmp/none")
