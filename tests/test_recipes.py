"""The recipes that ship do what their first lines say: the commands there run, on small sets that the documented
commands make, with weights of which only the configurations are there.
"""

import contextlib
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants
from typer.main import get_command

from pipelines.cli.app import app
from pipelines.mix.run import preview_mixture
from pipelines.recipes.mix import MixRecipe
from schemas.output_set.recipe_layers import merge_layers, read_layers
from tests.conftest import REPOSITORY, jpeg
from tests.pipelines.support import questions
from tests.pipelines.support.published import ROWS, SETS, caption, url, write_parquet
from tests.pipelines.support.sets import annotation_set, in_process, line, write_samples
from tests.support.hub import write_hub

RECIPES = {
    str(path.relative_to(REPOSITORY / "recipes").with_suffix("")): path
    for path in sorted((REPOSITORY / "recipes").rglob("*.yaml"))
}
MERGED = {name: merge_layers(read_layers(str(path))) for name, path in RECIPES.items()}
KINDS = {name: recipe["kind"] for name, recipe in MERGED.items()}
OF_SETS = [name for name, kind in KINDS.items() if kind in ("mix", "train")]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
DEMO = "demo-output"


def find_commands(text: str) -> list[list[str]]:
    """The words of each command in the lines of a text, of which one may continue on the next."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if re.match(r"\s*(shardloom|torchrun|python) ", line)]


def read_header(name: str) -> str:
    """The comment at the beginning of a recipe."""
    return "".join(line[1:] for line in takewhile(lambda line: line[0] == "#", RECIPES[name].open()))


def documented() -> list[list[str]]:
    """The commands of the pages."""
    blocks = (block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL))
    return [command for block in blocks for command in find_commands(block)]


def get_option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1] if name in words else ""


@pytest.mark.parametrize("name", OF_SETS)
def test_every_set_is_made_by_a_command(name: str) -> None:
    recipe = MERGED[name]
    sources = recipe["data"]["sources"] if recipe["kind"] == "train" else recipe["sources"]
    own = find_commands(read_header(name))
    overrides = [word.partition("=")[2] for words in own for word in words if word.startswith("data.sources=")]
    named = {*sources.values(), *(folder for each in overrides for folder in yaml.safe_load(each).values())}
    named = {folder.removeprefix("../") for folder in named}  # of a recipe in a folder below its base's
    made = {get_option(words, "--output") for words in own + documented() if words[0] == "shardloom"}
    missing = {folder for folder in named if not any(fnmatch(output, folder) for output in made)}
    if "`shardloom demo`" in read_header(name):
        missing = {folder for folder in missing if not folder.startswith(f"{DEMO}/")}
    assert missing == set()


@pytest.fixture(scope="module")
def workplace(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all sets that the recipes name, made by the commands that are written down."""
    folder = tmp_path_factory.mktemp("workplace")
    store = make_shards(folder / "store", shards=1, samples=ROWS)
    with contextlib.chdir(folder):
        write_samples(Path("hd/data/0.tar"), [(f"{n}", jpeg(n, 520, 520), "", {"uid": f"u{n}"}) for n in range(ROWS)])
        annotation_set("hd/data/*.tar", Path("hd-lines"), lambda key: [line(key)])
        for words in documented() + [words for name in OF_SETS for words in find_commands(read_header(name))]:
            is_ours = get_option(words, "--output").startswith("sets/")
            if is_ours and Path(get_option(words, "--output")).exists():  # made by the same command elsewhere
                continue
            if words[1] == "ingest" and is_ours:
                draw_input(words, Path("drawn"))
                images = ["--images", store] if "--download" in words else []
                run(*(word for word in words if word != "--download"), *images, "--workers", 1)
            elif words[1] in ("render", "shard") and (is_ours or "hd-lines" in words):
                run(*words, "--workers", 1)
        Path(DEMO).mkdir()
        Path(DEMO, "training").symlink_to(folder / "sets")
        for name, made in (("ocr", "cc3m"), ("grounding", "cc12m"), ("documents", "obelics")):
            Path("sets", name).symlink_to(folder / "sets" / made)
    return folder


def draw_input(words: list[str], scratch: Path) -> None:
    """Draws what a command of `ingest` reads, in its place."""
    scratch.mkdir(exist_ok=True)
    place = Path(get_option(words, "--input").replace("*", "0"))
    place.parent.mkdir(parents=True, exist_ok=True)
    images = get_option(words, "--images")
    if words[2] in questions.ROWS or words[2] in questions.OTHERS:
        questions.write_set(words[2], place, Path(images), ROWS)
        return
    if images.endswith(".tar"):
        tar = Path(images.replace("*", "0"))
        tar.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SETS["datacomp"](scratch), tar)
    if words[2] == "llava" and place.suffix == ".parquet":
        write_parquet(place, [ask_for_caption(number) for number in range(ROWS)])
        return
    if words[2] == "llava":
        place.write_text(json.dumps([talk(number, images) for number in range(ROWS)]))
        if place.suffix == ".jsonl":
            place.write_text("".join(json.dumps(talk(number, images)) + "\n" for number in range(ROWS)))
        return
    shutil.copyfile(SETS[words[2]](scratch), place)
    if words[2] == "visual-genome":
        for name in ("VG_100K", "VG_100K_2"):
            shutil.copytree(scratch / name, name)


def ask_for_caption(number: int) -> dict[str, Any]:
    """A conversation as `render conversations` writes it, about an image by its URL."""
    turns = [
        {"from": "human", "value": "<image>\nCaption this image."},
        {"from": "gpt", "value": caption(number)},
    ]
    return {"id": f"{number:032x}", "image": url(number), "key": str(number), "conversations": turns}


def talk(number: int, images: str) -> dict[str, Any]:
    """A conversation, about an image that is written below the folder `images` if one is named."""
    asked = {"from": "human", "value": f"What is {number}?"}
    row = {"id": str(number), "conversations": [asked, {"from": "gpt", "value": caption(number)}]}
    if not images:
        return row
    Path(images, "coco").mkdir(parents=True, exist_ok=True)
    Path(images, f"coco/{number}.jpg").write_bytes(jpeg(number))
    return row | {
        "image": f"coco/{number}.jpg",
        "conversations": [asked | {"value": f"<image>\n{number}?"}, row["conversations"][1]],
    }


def run(*words: object) -> str:
    """What a command prints, in this process."""
    done = in_process(*words[1:])
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the hub with configurations and tokenizers, without weights, and no network."""
    write_hub(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def to_dry_run(words: list[str]) -> list[str]:
    """A command that trains, on whatever ranks, as one that only says what it would do."""
    ranks = [int(get_option(words, name) or 1) for name in ("--nnodes", "--nproc-per-node")]
    if words[0] == "torchrun":
        words = ["shardloom", "train", *words[words.index("training.train") + 1 :], "--ranks", str(ranks[0] * ranks[1])]
    at = words.index("--output")
    return [*words[:at], *words[at + 2 :], "--dry-run"]


@pytest.mark.parametrize("name", [name for name in OF_SETS if KINDS[name] == "mix"])
def test_mixtures(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the first lines, as they stand."""
    monkeypatch.chdir(workplace)
    commands = [words for words in find_commands(read_header(name)) if words[1] in ("recipe", "mix")]
    assert [words[1] for words in commands] == ["recipe", "mix", "mix"]
    for words in commands:
        told = run(*words, *(["--json"] if "--plan" in words else ["--workers", 1] if words[1] == "mix" else []))
        if "--plan" in words:
            drawn = {row["source"]: row["counts"]["samples"] for row in json.loads(told)["sources"]}
            assert drawn.keys() == MERGED[name]["sources"].keys()
            assert sum(drawn.values()) > 0


def test_the_shares_of_fine_tuning_are_exact(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By set and by domain, of 400 conversations: the smallest number of which every share is whole."""
    monkeypatch.chdir(workplace)
    asked = {key: value for key, value in MERGED["blip3_sft"].items() if key not in ("kind", "repeats", "stop")}
    recipe = MixRecipe(**asked, repeats=dict.fromkeys(asked["sources"], None), stop=400)
    told = preview_mixture(recipe)["sources"]
    assert {row["source"]: row["counts"]["samples"] for row in told} == {
        **{"llava": 60, "sharegpt4v": 40},
        **{"textvqa": 12, "ocr_vqa": 32, "a_okvqa": 8, "gqa": 48},
        **{"docvqa": 20, "chartqa": 20, "dvqa": 56, "ai2d": 4},
        **{"clevr": 30, "science_qa": 10, "open_orca": 40, "orca_math": 20},
    }
    domains: Counter[str] = Counter()
    for row in told:
        domains[row["group"]] += row["counts"]["samples"]
    assert domains == {
        **{"conversation": 60, "captions": 40, "questions": 100, "documents": 100, "science": 40, "text": 60},
    }


PARAMETERS = {
    "kale/captioner": ["1,637,039,171, of which 1,208,813,571"] * 2,
    "train/pretrain_4b": ["4,359,257,219, of which 3,931,031,619"],
    "train/sft_anyres": ["4,359,257,219, of which 3,931,031,619"],
    "train/tiny": ["1,518,116, of which 1,518,116"],
    "train/tiny/few_shot": ["1,518,116, of which 1,518,116"],
    "train/xmodel_1b": ["1,416,155,136, of which 12,587,008", "1,416,155,136, of which 1,112,647,680"],
}
"""All, and those that are trained, in each stage."""


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", PARAMETERS)
def test_training(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the first lines, without a step: a training becomes its dry run, on as many ranks."""
    monkeypatch.chdir(workplace)
    commands = [words for words in find_commands(read_header(name)) if words[1] in ("recipe", "train") or "-m" in words]
    assert [words[1] for words in commands[:2]] == ["recipe", "train"]
    run(*commands[0])
    found: dict[tuple[str, ...], str] = {}
    for words in commands[1:]:
        dry = words if "--dry-run" in words else to_dry_run(words)
        if tuple(sorted(dry)) not in found:
            started = "init_from" in RECIPES[name].read_text()  # from the model of a stage before, which is not here
            found[tuple(sorted(dry))] = run(*dry, *(["init_from=null"] if started else []))
    assert [told.splitlines()[0] for told in found.values()] == [
        f"parameters  {parameters} are trained" for parameters in PARAMETERS[name]
    ]
    assert all("the first sequence: " in told for told in found.values())


@pytest.mark.parametrize("name", RECIPES)
def test_commands_have_the_options_that_they_use(name: str) -> None:
    """Also those that need a cluster or the web, and so are not run here."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for words in find_commands(read_header(name)):
        if words[0] == "shardloom":
            commands[words[1]].make_context(words[1], words[2:])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind in ("annotate", "download", "render")])
def test_recipes_that_name_no_input(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("shardloom", "recipe", "copy", name)
    path = f"{name.rpartition('/')[2]}.yaml"
    told = run("shardloom", "recipe", "check", path, "input=images/*.tar")
    assert told == f"{path}: a valid recipe of the kind {KINDS[name]}\n"
