"""The recipes of the papers' tables and figures: what each run is, that it differs from its base in what its place
names and in nothing else, and that it can be trained, as far as configurations without weights tell.
"""

import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.output_set.recipe_file import compare_recipes
from tests.conftest import REPOSITORY
from tests.support.hub import CONFIGURATIONS
from tests.test_recipes import RECIPES, hub, run, workplace  # noqa: F401  fixtures
from tests.training.support import tiny
from training.recipe import TrainRecipe, load_train_recipe

FAMILIES = ("xgen_mm", "mm1", "xmodel_vlm", "idefics2")
NAMES = [name for name in RECIPES if name.split("/")[1:-1] and name.split("/")[1] in FAMILIES]

TOKENS = {  # of a tile; the first that fits
    "train/xgen_mm/table7_64_tokens": 64,
    "train/xgen_mm/*": 128,
    "train/mm1/figure4_*_64": 64,
    "train/mm1/*": 144,
    "train/xmodel_vlm/language": 0,
    **{f"train/xmodel_vlm/table8_{tokens}_?": tokens for tokens in (576, 288, 72, 64, 36, 18, 8, 4, 2, 1)},
    "train/xmodel_vlm/*": 144,
    "train/idefics2/table3_no_perceiver": 729,
    "train/idefics2/table4_128_tokens": 128,
    "train/idefics2/*": 64,
}

DIFFERENCES = {  # from the base that the file names: the first that fits
    "train/xgen_mm/ablation": ("data.*", "model.vision.pretrained"),
    "train/xgen_mm/table5_*": ("data.*",),
    "train/xgen_mm/table6_*": ("model.vision.pretrained",),
    "train/xgen_mm/table7_*": ("model.connector.latents",),
    "train/xgen_mm/table8_*": ("data.*",),
    "train/xgen_mm/figure7_*": ("steps", "schedule.warmup_steps"),
    "train/xgen_mm/figure8a_*": ("model.any_resolution.*",),
    "train/xgen_mm/figure8b_*": ("model.connector.*", "init_changes"),
    "train/xgen_mm/sft": ("data.*",),
    "train/mm1/figure4_*": ("model.connector.*", "model.vision.pretrained"),
    "train/mm1/table1_openai_l336": ("model.language.pretrained",),
    "train/mm1/table1_dfn_*": ("model.vision.pretrained",),
    "train/mm1/mm1_3b": ("model.language.pretrained", "model.vision.pretrained"),
    "train/mm1/mm1_*": ("model.language.pretrained",),
    "train/mm1/sft_3b": (
        "data.*",
        "epochs",
        "global_batch_size",
        "init_*",
        "model.*",
        "optimizer.*",
        "schedule.*",
        "steps",
    ),
    "train/mm1/sft_*": ("model.language.pretrained", "init_from"),
    "train/xmodel_vlm/stage1": (
        "data.*",
        "epochs",
        "global_*",
        "init_*",
        "model.*",
        "optimizer.*",
        "schedule.*",
        "steps",
    ),
    "train/xmodel_vlm/stage2": ("data.*", "global_batch_size", "init_*", "optimizer.lr.*", "schedule.*"),
    "train/xmodel_vlm/table7_*": ("model.connector.*", "init_from"),
    "train/xmodel_vlm/table8_*": ("model.connector.factor", "init_from", "data.sequence_length"),
    "train/xmodel_vlm/table9_*": ("model.language.*", "model.tokenizer", "init_*"),
    "train/idefics2/table[12]*": ("model.language.pretrained", "model.vision.pretrained", "optimizer.lr.language"),
    "train/idefics2/table3_*": ("model.connector.*", "data.tiles_per_sequence"),
    "train/idefics2/table4_*": ("model.connector.latents", "optimizer.lr.language"),
    "train/idefics2/table5_*": ("model.vision.image_size", "model.any_resolution.*"),
}

TRAINED = {  # parameters, of connectors alone
    "train/xmodel_vlm/stage1": "12,587,008",
    "train/xmodel_vlm/table7_linear_1": "2,099,200",
    "train/xmodel_vlm/table7_mlp_1": "6,295,552",
    "train/xmodel_vlm/table7_ldp_1": "18,936,832",
    "train/xmodel_vlm/table7_ldpv2_1": "6,316,032",
}


def find(table: dict[str, Any], name: str) -> Any:
    """The entry of the first pattern that fits the name."""
    return next(value for pattern, value in table.items() if fnmatch(name, pattern))


def load(name: str) -> TrainRecipe:
    return load_train_recipe(str(RECIPES[name]))


def count_cells(recipe: TrainRecipe) -> int:
    """The cells of a tile, by the published configuration of the tower."""
    if recipe.model.vision is None:
        return 0
    tower = CONFIGURATIONS[str(recipe.model.vision.pretrained)]
    return ((recipe.model.vision.image_size or tower["image_size"]) // tower["patch_size"]) ** 2


def test_there_are_runs_of_every_paper() -> None:
    counts = {family: sum(name.split("/")[1] == family for name in NAMES) for family in FAMILIES}
    assert counts == {"xgen_mm": 14, "mm1": 20, "xmodel_vlm": 35, "idefics2": 8}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_is(name: str) -> None:
    recipe = load(name)
    tokens = recipe.model.count_tokens_per_tile(count_cells(recipe))
    assert tokens == find(TOKENS, name)
    assert tokens < recipe.data.sequence_length, "an image fits"
    if (base := yaml.safe_load(RECIPES[name].read_text()).get("base")) is not None:
        below = load_train_recipe(str(RECIPES[name].parent / base))
        found = compare_recipes(below.resolve(), recipe.resolve())
        names = {re.split(r" is ", line, maxsplit=1)[0] for line in found}
        allowed = find(DIFFERENCES, name)
        assert {each for each in names if not any(fnmatch(each, pattern) for pattern in allowed)} == set()
        assert names, "a row that differs in nothing is the base itself"


def test_no_two_files_are_one_run() -> None:
    seen: dict[str, str] = {}
    for name in NAMES:
        same = seen.setdefault(json.dumps(load(name).resolve(), sort_keys=True), name)
        assert same == name


def test_the_two_mixtures_of_fine_tuning_are_one() -> None:
    trained = load("train/xgen_mm/sft").data
    mixed = yaml.safe_load((REPOSITORY / "recipes/blip3_sft.yaml").read_text())
    assert trained.shares.keys() == {
        f"{group}.{source}" for group, inner in mixed["weights"].items() for source in inner["of"]
    }
    assert trained.weights == mixed["weights"]
    assert trained.repeats == mixed["repeats"]
    assert trained.stop == mixed["stop"]
    assert {name: Path(*Path(folders[0]).parts[-2:]) for name, folders in trained.sources.items()} == {
        name: Path(folder) for name, folder in mixed["sources"].items()
    }


@pytest.fixture(scope="module")
def place(workplace: Path) -> Path:  # noqa: F811
    """The folder of the recipes, with the sets and the tokenizer that they name."""
    shutil.copytree(REPOSITORY / "recipes/train", workplace / "train")
    for folder in (workplace / "train", *(workplace / "train" / family for family in FAMILIES)):
        (folder / "sets").symlink_to(workplace / "sets")
    shutil.copyfile(
        tiny.write_tokenizer(workplace / "tokenizer") / "tokenizer.json",
        workplace / "train/xmodel_vlm/tokenizer.json",
    )
    return workplace


@pytest.mark.slow
@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", NAMES)
def test_dry_runs(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    changes = ["model.allow_download=true", "data.workers=0", "data.stop=100", "init_from=null", "init_changes=[]"]
    told = run("shardloom", "train", f"{name}.yaml", "--dry-run", *changes)
    assert "the first sequence: " in told
    if name in TRAINED:
        assert told.splitlines()[0].endswith(f" of which {TRAINED[name]} are trained")
