"""The recipes of KALE and VeCap: their prompts, their phrases, and the way from images to a training set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from curation.captions.written.leaks import LeakFilter, parse_phrases
from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.engines.registry import ENGINES
from pipelines.annotate.captions.prompts import list_inputs, settle_prompts
from pipelines.engines.loader import check_settings
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import load_recipe
from pipelines.recipes.render import RenderRecipe
from tests.conftest import REPOSITORY
from tests.pipelines.support.caption_models import SHARDLOOM
from tests.pipelines.support.published import ROWS
from tests.pipelines.support.sets import in_process, rows
from tests.support.caption_server import TEXT_ALONE, running_server, write_caption
from tests.training.support import tiny

SHIPPED = REPOSITORY / "recipes"
INPUTS = {
    "kale/stage1": {"dense": [], "knowledge": ["captions.dense"]},
    "kale/stage1_grounded": {"dense": [], "knowledge": ["captions.dense", "ocr", "boxes"]},
    "kale/stage2": {"knowledge": ["ocr", "boxes"]},
    "vecap/annotate": {"visual": [], "fused": ["captions.visual"]},
}


@pytest.mark.parametrize("name", INPUTS)
def test_prompts_read_what_the_recipe_makes_before(name: str) -> None:
    recipe = settle_prompts(load_recipe(AnnotateRecipe, str(SHIPPED / f"{name}.yaml"), input="images/*.tar"))
    captions = recipe.engines.captions
    assert {caption: list_inputs(recipe.engines, f"captions.{caption}") for caption in captions} == INPUTS[name]
    ENGINES.trust(SHARDLOOM)
    check_settings(recipe)
    for options in recipe.stages.values():
        if options.engine == "endpoint":
            assert EndpointSettings.model_validate(options.settings).base_url == "http://localhost:8000/v1"


@pytest.mark.parametrize("name", ["kale/captions", "kale/conversations", "vecap/captions"])
def test_leaks_are_those_of_the_prompts(name: str) -> None:
    """Each prompt that has written these captions is named, and a caption that says what it shows loses nothing."""
    recipe = load_recipe(RenderRecipe, str(SHIPPED / f"{name}.yaml"), input="set")
    folder = SHIPPED / name.partition("/")[0]
    written = {
        options["prompt"]
        for path in folder.glob("*.yaml")
        for options in yaml.safe_load(path.read_text()).get("engines", {}).get("captions", {}).values()
    }
    prompts = [str(Path(path).relative_to(folder)) for path in recipe.options.model_dump()["leak_prompts"]]
    taught = recipe.options.model_dump().get("prompt")  # what a model is yet to be asked with is no leak
    assert set(prompts) == written - {taught and str(Path(taught).relative_to(folder))}
    phrases = Path(recipe.options.model_dump()["leak_phrases"]).read_bytes()
    leaks = LeakFilter.build(parse_phrases(phrases, name), [(folder / path).read_text() for path in prompts])
    true = "A red door with a brass sign, left of a window. The provided seats are blue. A web page shows two dogs."
    assert leaks.drop_leaks(true) == (true, 3, 0)
    for path in prompts:
        literals = [line for line in (folder / path).read_text().splitlines() if "{" not in line and len(line) > 60]
        assert all(leaks.has_leak(line) for line in literals), path


def test_both_stages_ask_with_the_same_prompt() -> None:
    taught = yaml.safe_load((SHIPPED / "kale/conversations.yaml").read_text())["prompt"]
    asked = yaml.safe_load((SHIPPED / "kale/stage2.yaml").read_text())["engines"]["captions"]["knowledge"]["prompt"]
    assert taught == asked
    assert all(f"{{{name}}}" in (SHIPPED / "kale" / asked).read_text() for name in ("alt_text", "ocr_boxes", "boxes"))


def run(*words: object) -> str:
    done = in_process(*words)
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_from_images_to_a_captioner(
    make_shards: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the recipes, with a server of the tests and, of the captioner's training, the dry run."""
    images = make_shards(tmp_path / "shards", shards=1, samples=ROWS)
    monkeypatch.chdir(tmp_path)
    for name in ("stage1", "captions", "conversations"):
        run("recipe", "copy", f"kale/{name}")
    (tmp_path / "prompts/captioner.txt").write_bytes((SHIPPED / "kale/prompts/captioner.txt").read_bytes())
    with running_server(models=("Qwen/Qwen2.5-VL-7B-Instruct",)) as server:
        stage1: dict[str, Any] = yaml.safe_load(Path("stage1.yaml").read_text())
        stage1["run"] = {"workers": 1, "settings": {"captions": {"base_url": server.url}}}
        Path("stage1.yaml").write_text(yaml.safe_dump(stage1))
        run("annotate", "stage1.yaml", "--input", images, "--output", "stage1")
    annotated = rows(Path("stage1"))
    assert [[caption["status"] for caption in row["captions"]] for row in annotated] == [["ok", "ok"]] * ROWS
    run("render", "knowledge", "stage1", "--recipe", "captions.yaml", "--output", "kale-captions", "--workers", 1)
    prompt = Path("prompts/knowledge.txt").read_text().removesuffix("\n")
    for row, found in zip(annotated, rows(Path("kale-captions")), strict=True):
        dense = row["captions"][0]["text"]
        assert found["cogvlm_caption"] == dense
        assert found["caption"] == write_caption(
            TEXT_ALONE, prompt.replace("{dense}", dense).replace("{alt_text}", row["caption"])
        )
    files = ["--images", images, "--workers", 1, "--format", "parquet"]
    run("ingest", "kale", "--input", "kale-captions/data/*.parquet", *files, "--output", "kale")
    assert [row["text"] for row in rows(Path("kale"))] == [row["caption"] for row in rows(Path("kale-captions"))]
    render = ["render", "conversations", "stage1", "--recipe", "conversations.yaml", "--workers", 1]
    with pytest.raises(AssertionError, match="stage1 was annotated without ocr: run annotate ocr"):
        run(*render, "--output", "no-lines")
    run(*render, "--prompt", "prompts/captioner.txt", "--output", "asked")
    run("ingest", "llava", "--input", "asked/data/*.parquet", *files, "--name", "captioner", "--output", "captioner")
    learned = rows(Path("captioner"))
    assert [row["roles"] for row in learned] == [["user", "user", "assistant"]] * ROWS
    assert [row["texts"][2] for row in learned] == [row["captions"][1]["text"] for row in annotated]
    assert learned[0]["texts"][1] == f"The page of this image says: {annotated[0]['caption']}\nCaption the image."
    told = run("train", *make_training(tmp_path), "--dry-run")
    assert "the first sequence: " in told
    assert pq.read_schema("kale-captions/data/00000000.parquet").metadata[b"base_caption"] == b"knowledge"


def make_training(folder: Path) -> list[str]:
    """A training of a tiny model on the conversations: its recipe and overrides."""
    tokenizer = tiny.write_tokenizer(folder / "tokenizer")
    recipe = yaml.safe_load((SHIPPED / "train/tiny.yaml").read_text())
    recipe["model"]["tokenizer"] = str(tokenizer)
    recipe["data"] |= {"sources": {"captioner": "captioner"}, "weights": {"captioner": 1}, "repeats": {}, "texts": {}}
    (folder / "captioner.yaml").write_text(yaml.safe_dump(recipe))
    return ["captioner.yaml"]
