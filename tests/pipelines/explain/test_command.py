"""The command: what it prints, and the one line that it has for what was moved, has changed or is not there."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, in_process, join, line, rows

KEY = "000000000001"
EVIL = "\x1b[31mred"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "images").mkdir()
    write_shard(folder / "images/0.tar", [jpeg(number) for number in range(3)])
    images = f"{folder}/images/*.tar"
    annotation_set(images, folder / "annotations", lambda key: [line(EVIL if key == KEY else key)])
    caption_set(folder / "annotations", folder / "captions", granularities=[0])
    caption_set(folder / "annotations", folder / "other", granularities=[0, 1])
    join(images, folder / "captions", folder / "training")
    join(images, folder / "captions", folder / "referring", by_reference=True)
    recipe = MixRecipe(sources={"ocr": [f"{folder}/training"]}, weights={"ocr": 1}, run=ALONE)
    mix(recipe, f"{folder}/mixed")
    return folder


@pytest.fixture
def sets(made: Path, tmp_path: Path) -> Path:
    """The same sets with nothing left where their manifests say."""
    shutil.copytree(made, tmp_path / "moved")
    made.rename(made.with_name("elsewhere"))
    try:
        yield tmp_path / "moved"
    finally:
        made.with_name("elsewhere").rename(made)


def test_text(made: Path) -> None:
    done = in_process("explain", made / "captions", KEY, "--span", "0")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == r'granularity 0: The image contains the text "\x1b[31mred"'
    assert lines[1] == r'  0  characters 28 to 38: "\x1b[31mred"'
    assert lines[2] == r"       from ocr 0: \x1b[31mred, score 0.500, pixels 16,12 to 48,36"
    assert lines[3:5] == ["engines", "  ocr: pixel 1; weights none; defaults"]
    assert lines[5] == "where it comes from"
    assert lines[6] == f"  render: {made}/captions, data/0.parquet, row 1"
    data = Path(made, "images/0.tar").read_bytes()
    offset = f"{data.index(jpeg(1)):,}"
    assert (
        f"    image: {KEY}.jpg in {made}/images/0.tar at byte {offset}, {len(jpeg(1)):,} bytes, sha256 " in done.stdout
    )
    assert "\x1b" not in done.stdout


def test_json_and_words(made: Path) -> None:
    done = in_process("explain", made / "captions", KEY, "--format", "json")
    found = json.loads(done.stdout)
    assert [step["command"] for step in found["steps"]] == ["render", "annotate", "source"]
    assert [span["number"] for span in found["spans"]] == [0, 1], "without and with the alt text"
    assert (found["spans"][0]["start"], found["spans"][0]["end"]) == (28, 38)
    assert found["spans"][0]["detections"][0]["pixels"] == [16, 12, 48, 36]
    assert found["engines"]["ocr"]["settings"] == {}
    assert "image" not in found
    words = json.loads(
        in_process("explain", made / "captions", KEY, "--span", "image contains", "--format", "json").stdout
    )
    assert next((span["number"], span["text"], span["detections"]) for span in words["spans"]) == (
        None,
        "image contains",
        [],
    )
    text = json.loads(in_process("explain", made / "captions", KEY, "--span", "red", "--format", "json").stdout)
    assert text["spans"] == found["spans"]


def test_crop(made: Path, tmp_path: Path) -> None:
    key = rows(made / "training", "index")[1]["key"]
    done = in_process("explain", made / "training", key, "--span", "0", "--crop", tmp_path / "crop.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "crop.png") as crop:
        assert crop.size == (32, 24)


WRONG_USE = {
    "explain {a}/none k": "{a}/none is not an output set: it has no recipe.yaml",
    "explain {a}/captions none": "{a}/captions has no row with the key or uid 'none'",
    "explain {a}/captions {k} --span 9": "--span '9': {k} has 2 spans, and no caption with these words",
    "explain {a}/captions {k} --span absent": "--span 'absent': {k} has 2 spans, and no caption with these words",
    "explain {a}/captions {k} --format xml": "--format: 'xml' is no format: use text or json",
    "explain {a}/captions {k} --crop {t}/a.jpg": "--crop {t}/a.jpg: a crop is a file that ends with .png",
    "explain {a}/captions {k} --span contains --crop {t}/a.png": "--crop: the spans have no place in the image: ",
    "explain {a}/captions {k} --set other={t}": "--set other: {a}/captions was made from annotations",
    "explain {a}/captions {k} --set annotations={a}/training": "the annotations in {a}/training have changed since ",
    "explain {a}/training {s} --set captions={a}/other": "the captions in {a}/other have changed since {a}/training ",
    "explain {a}/captions {k} --images {t}/*.tar": "no file matches {t}/*.tar",
}


@pytest.mark.parametrize("command", WRONG_USE)
def test_wrong_use(made: Path, tmp_path: Path, command: str) -> None:
    names = {"a": made, "t": tmp_path, "k": KEY, "s": "00000000000001"}
    done = in_process(*(word.format(**names) for word in command.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: " + WRONG_USE[command].format(**names)), done.stderr
    assert done.stderr.count("\n") == 1


def fail(*arguments: object) -> str:
    done = in_process("explain", *arguments)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_inputs_that_were_moved_are_named_one_after_another(sets: Path, made: Path) -> None:
    key = rows(sets / "mixed", "index")[1]["key"]
    options: list[object] = []
    for name, folder in (("SOURCE", "training"), ("captions", "captions"), ("annotations", "annotations")):
        line = fail(sets / "mixed", key, *options)
        assert str(made / folder) in line
        assert f"pass --set {name}=FOLDER" in line
        options += ["--set", f"{'ocr' if name == 'SOURCE' else name}={sets / folder}"]
    line = fail(sets / "mixed", key, *options)
    assert f"the images were in {made}/images, which is not there or may not be asked: pass --images" in line
    for images in (f"{sets}/images/*.tar", f"{sets}/images"):
        done = in_process("explain", sets / "mixed", key, *options, "--images", images)
        assert done.returncode == 0, done.stderr
        assert f" in {sets}/images/0.tar at byte " in done.stdout


def test_a_set_by_reference_that_was_moved(sets: Path, made: Path) -> None:
    key = rows(sets / "referring", "index")[1]["key"]
    options = [f"--set={name}={sets / name}" for name in ("captions", "annotations")]
    assert f"the images were in {made}/images, " in fail(sets / "referring", key, *options), "of the annotations"
    for images in (f"{sets}/images/*.tar", f"{made}/images={sets}/images"):
        done = in_process("explain", sets / "referring", key, *options, "--images", images)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f" in {sets}/images/0.tar at byte ") == 2


def test_images_that_have_changed(sets: Path) -> None:
    write_shard(sets / "images/0.tar", [jpeg(number + 5) for number in range(3)])
    line = fail(sets / "annotations", KEY, "--images", f"{sets}/images/*.tar")
    assert f"{sets}/images/0.tar has no image of {KEY} with the sha256 " in line
    assert line.endswith("pass --images with the shards that the set was made from\n")
