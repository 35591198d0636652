"""Recipes: every wrong key and value named in one line, flags over files, defaults as shipped."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.captions.endpoint_settings import RUN_SETTINGS, EndpointSettings
from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.tags.caption_settings import CaptionTagSettings
from pipelines.annotate.captions.prompts import list_inputs
from pipelines.engines.flags import parse_engines
from pipelines.engines.loader import check_settings
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, ChunkOptions
from pipelines.recipes.base import RunOptions, load_recipe
from pipelines.recipes.download import DownloadRecipe
from pipelines.recipes.ingest import IngestRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.rows import ChosenRows
from pipelines.recipes.shard import ShardRecipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import dump_yaml
from schemas.output_set.recipe_paths import anchor_paths
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "recipes/annotate.yaml"
ANNOTATE = {"input": "shards/*.tar", "engines": {"ocr": {"engine": "rapidocr"}}}


def engine(**options: Any) -> dict[str, Any]:
    return {"ocr": {"engine": "rapidocr"} | options}


def write(folder: Path, values: Any) -> str:
    path = folder / "recipe.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"inputs": "x"}, "unknown key inputs"),
        ({"chunk": {"sampels": 4}}, "unknown key chunk.sampels"),
        ({"filters": {"min_sides": 4}}, "unknown key filters.min_sides"),
        ({"run": {"worker": 4}}, "unknown key run.worker"),
        ({"decode": {"pixels": 4}}, "unknown key decode.pixels"),
        ({"engines": {"ocr": {"engine": "rapidocr", "side": 4}}}, "unknown key engines.ocr.side"),
        ({"engines": engine(batch_size="many")}, "engines.ocr.batch_size: input should be a valid .*, not 'many'"),
        ({"engines": engine(batch_size=0)}, "engines.ocr.batch_size: input should be greater than 0, not 0"),
        ({"chunk": 5}, "chunk: input should be a mapping, not 5"),
        ({"chunk": None}, "chunk: input should be a mapping, not None"),
        ({"input": {"glob": "x"}}, "input: input should be a valid list, not {'glob': 'x'}"),
        ({"max_engine_errors": 2}, "max_engine_errors: input should be less than or equal to 1, not 2"),
        ({"engines": {}}, "engines: none is named: use ocr, tags, boxes, captions"),
        ({"engines": {"text": {"engine": "x"}}}, "engines: there is no 'text': use ocr, tags, boxes, captions"),
        (
            {"engines": {"boxes": {"engine": "x"}}},
            "engines: boxes need tags: annotate tags,boxes",
        ),
        (
            {"run": {"resources": {"gpu": {}}}},
            "unknown key run.resources.gpu: use decode, ocr, tags, boxes, captions or captions.NAME",
        ),
        (
            {"run": {"settings": {"ocr.small": {}}}},
            "unknown key run.settings.ocr.small: use ocr, tags, boxes, captions or captions.NAME",
        ),
        (
            {"engines": {"captions": {"ocr": {"engine": "endpoint"}}}},
            "unknown key engines.captions.ocr: use lower-case letters, digits and _, 40 at most, and none of alt_text, "
            "ocr, ocr_boxes, tags, boxes",
        ),
        ({1: "x"}, "1: keys should be strings, not 1"),
        ({"max_engine_errors": "x" * 500}, "max_engine_errors: .*, not 'x{79}..."),
    ],
)
def test_a_fault_is_named(tmp_path: Path, changes: dict[Any, Any], fault: str) -> None:
    path = write(tmp_path, ANNOTATE | changes)
    with pytest.raises(UsageError) as error:
        load_recipe(AnnotateRecipe, path, run={"workers": None}, chunk={"samples": None})
    assert re.fullmatch(f"recipe {re.escape(path)}: {fault}", str(error.value)), str(error.value)


def test_several_faults_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, {"captions": 5, "format": "tar", "granularity": -1, "shuffle": True})
    with pytest.raises(UsageError) as error:
        load_recipe(ShardRecipe, path)
    assert str(error.value) == (
        f"recipe {path}: images: field required; captions: input should be a valid string, not 5; "
        "format: input should be 'webdataset' or 'parquet', not 'tar'; "
        "granularity: input should be greater than or equal to 0, not -1; unknown key shuffle"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("input: [", "is not valid YAML: while parsing"),
        ("input: 2024-99-99", "is not valid YAML: month must be in 1..12"),
        ("input: !!python/object/apply:os.system [id]", "is not valid YAML: could not determine a constructor"),
        ("- input", "is not a mapping"),
        ("just words", "is not a mapping"),
        ("kind: shard", "is not of the kind 'render'"),
        ("", "input: field required"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, fault: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load_recipe(RenderRecipe, path)
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UsageError, match=f"cannot read recipe {re.escape(str(path))}: {reason}"):
            load_recipe(RenderRecipe, str(path))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.yaml is not valid YAML"):
        load_recipe(RenderRecipe, str(tmp_path / "binary.yaml"))


def test_flags_lie_over_the_file(tmp_path: Path) -> None:
    values = ANNOTATE | {"chunk": {"samples": 4, "bytes": 1000}, "run": {"workers": 3, "output": "there"}}
    flags = {"input": ["other/*.tar"], "chunk": {"samples": 8}, "run": {"workers": None, "output": "here"}}
    recipe = load_recipe(AnnotateRecipe, write(tmp_path, values), **flags)
    assert recipe.input == ["other/*.tar"]
    assert (recipe.chunk.samples, recipe.chunk.bytes) == (8, 1000)
    assert (recipe.run.workers, recipe.run.output) == (3, "here")


def test_an_empty_section_is_filled_by_flags(tmp_path: Path) -> None:
    path = write(tmp_path, "input: there\nrun:\n")
    assert load_recipe(RenderRecipe, path, run={"workers": 2}).run == RunOptions(workers=2)


def test_a_resolved_recipe_can_be_loaded_again(tmp_path: Path) -> None:
    recipe = load_recipe(AnnotateRecipe, write(tmp_path, ANNOTATE))
    again = load_recipe(AnnotateRecipe, write(tmp_path, dump_yaml(recipe.resolve()).decode()))
    assert again == recipe
    assert again.compute_sha256() == recipe.compute_sha256()


def test_null_switches_a_filter_off_and_is_stored(tmp_path: Path) -> None:
    """A stored recipe without the null would resume with the default."""
    text = "source: obelics\ninput: set.parquet\nfilters:\n  max_images: null\n  image: {min_side: null}\n"
    recipe = load_recipe(IngestRecipe, write(tmp_path, text))
    filters = recipe.filters
    assert (filters.max_images, filters.image.min_side) == (None, None)
    assert (filters.max_characters, filters.image.max_aspect) == (4_000_000, 50.0)
    stored = yaml.safe_load(dump_yaml(recipe.resolve()))
    assert (stored["filters"]["max_images"], stored["filters"]["image"]["min_side"]) == (None, None)
    again = load_recipe(IngestRecipe, write(tmp_path, stored))
    assert again.filters == filters
    assert again.compute_sha256() == recipe.compute_sha256()
    plain = load_recipe(IngestRecipe, None, source="obelics", input="set.parquet")
    assert plain.filters.max_images == 30
    assert plain.compute_sha256() != recipe.compute_sha256()


def test_what_cannot_alter_a_byte_is_not_in_the_hash() -> None:
    one, other = (RenderRecipe(input="a", run=RunOptions(workers=workers)) for workers in (1, 9))
    assert one.compute_sha256() == other.compute_sha256()
    assert one.compute_sha256() != RenderRecipe(input="b").compute_sha256()


@pytest.mark.parametrize("name", ["http://host", "host:8080", "host/path", "127.0.0.1:80", "[::1]:80", ""])
def test_an_allowed_host_is_a_name_alone(name: str) -> None:
    with pytest.raises(UsageError) as error:
        load_recipe(DownloadRecipe, None, input=["a"], run={"allow_hosts": [name]})
    assert str(error.value) == f"recipe: run.allow_hosts: {name!r} is not a host name: leave out scheme, port and path"
    names = ["host", "10.0.0.7", "::1", "[::1]"]
    assert load_recipe(DownloadRecipe, None, input=["a"], run={"allow_hosts": names}).run.allow_hosts == names


def test_the_recipe_that_ships_holds_every_option_at_its_default() -> None:
    shipped = load_recipe(AnnotateRecipe, str(SHIPPED), input="images/*.tar")
    plain = load_recipe(AnnotateRecipe, None, input="images/*.tar", engines=parse_engines("ocr,tags,boxes"))
    settings = {"ocr": RapidOcrSettings(), "tags": CaptionTagSettings(), "boxes": GroundingDinoSettings()}
    for kind, spec in shipped.stages.items():
        assert spec.settings == dict(settings[kind]), "those too that a fingerprint leaves out"
        assert spec.model_dump(exclude={"settings"}) == plain.stages[kind].model_dump(exclude={"settings"})
    assert shipped.model_dump(exclude={"engines"}) == plain.model_dump(exclude={"engines"})
    written = yaml.safe_load(SHIPPED.read_text())
    assert written.keys() - {"kind"} == AnnotateRecipe.model_fields.keys() - {"input", *ChosenRows.model_fields}
    assert written["chunk"].keys() == ChunkOptions.model_fields.keys()
    assert written["run"].keys() == AnnotateRun.model_fields.keys() - {"output"}


def test_a_list_of_no_globs_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        load_recipe(AnnotateRecipe, None, ANNOTATE | {"input": []})
    assert str(error.value) == "recipe: input is empty"


def test_only_grounding_captions_have_a_third_choice() -> None:
    """It is the default there; other sources keep the value, and so the hash, that their recipes always had."""
    for source, flag, expected in (
        ("blip3-grounding", None, None),
        ("blip3-grounding", False, False),
        ("blip3-ocr", None, False),
        ("obelics", None, False),
        ("blip3-ocr", True, True),
    ):
        recipe = load_recipe(IngestRecipe, None, source=source, input=["a"], read={"raw_caption": flag})
        assert recipe.read.raw_caption is expected
        assert recipe.resolve()["read"]["raw_caption"] is expected


def test_the_files_of_an_engine_are_beside_its_recipe(tmp_path: Path) -> None:
    settings = {"weights": "ram.pth", "vocabulary": "names.txt", "thresholds": "thresholds.txt"}
    for name in settings.values():
        (tmp_path / name).touch()
    values = {"engines": {"tags": {"engine": "ram", "settings": settings | {"device": "cpu"}}}}
    anchored = anchor_paths(values, AnnotateRecipe, f"{tmp_path}/recipe.yaml")["engines"]["tags"]["settings"]
    assert anchored == {key: f"{tmp_path}/{name}" for key, name in settings.items()} | {"device": "cpu"}


def test_the_recipe_of_captions_that_ships_holds_every_option_at_its_default() -> None:
    """Apart from what a run needs: the model, the address, and a moderate number of requests."""
    shipped = load_recipe(AnnotateRecipe, str(SHIPPED.with_name("captions.yaml")), input="images/*.tar")
    check_settings(shipped)
    dense, knowledge = shipped.engines.captions.values()
    settings = dict(EndpointSettings(model=str(dense.settings["model"])))
    assert dense.settings == {name: value for name, value in settings.items() if name not in RUN_SETTINGS}
    held = shipped.run.settings["captions"]
    assert held == {name: settings[name] for name in RUN_SETTINGS} | {"base_url": "http://localhost:8000/v1"}
    folder = SHIPPED.parent / "captions"
    assert (dense.prompt, knowledge.prompt) == (str(folder / "dense.txt"), str(folder / "knowledge.txt"))
    assert list_inputs(shipped.engines, "captions.knowledge") == ["captions.dense"]
