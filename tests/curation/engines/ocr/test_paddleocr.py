"""Its weights are found or missed by name; where its environment is built, it reads what RapidOCR reads."""

import json
import os
import random
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rapidocr
from PIL import Image, ImageDraw, ImageFont

from curation.engines.ocr.paddleocr import find_weights, make_private_cache
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from curation.images.decode import RgbImage
from curation.scores.text import count_ordered_errors
from pipelines.environments.python import get_completion_mark, get_interpreter
from schemas.errors import UsageError
from schemas.records.box import Box
from tests.conftest import REPOSITORY
from tests.curation.engines.support.columns import draw_columns

MODELS = Path(rapidocr.__file__).parent / "models"
READER = Path(__file__).parents[1] / "support/read_with_paddle.py"
BUILT = pytest.mark.skipif(not get_completion_mark("paddleocr").exists(), reason="shardloom engines --build paddleocr")
WORDS = (
    "Open",
    "daily",
    "Fresh",
    "bread",
    "Total",
    "12.50",
    "EUR",
    "Platform",
    "Exit",
    "Sale",
    "30%",
    "Museum",
    "1987",
)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_layouts_of_weights(tmp_path: Path) -> None:
    own = files(tmp_path / "own", *(f"{model}/inference.{end}" for model in ("det", "rec") for end in ("yml", "onnx")))
    assert [str(path.relative_to(own)) for path in find_weights(own).files] == [
        "det/inference.onnx",
        "det/inference.yml",
        "rec/inference.onnx",
        "rec/inference.yml",
    ]
    assert (find_weights(own).is_onnx, find_weights(own).is_rapidocr) == (True, False)
    for kind in ("json", "pdmodel"):
        ends = (kind, "pdiparams", "yml")
        paddle = files(tmp_path / kind, *(f"{model}/inference.{end}" for model in ("det", "rec") for end in ends))
        assert not find_weights(paddle).is_onnx
        assert len(find_weights(paddle).files) == 6
    rapid = find_weights(MODELS)
    assert [path.name for path in rapid.files] == ["PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"]
    assert (rapid.is_onnx, rapid.is_rapidocr) == (True, True)
    copied = files(tmp_path / "copied", *(name for path in rapid.files for name in (path.name, f"._{path.name}")))
    assert [path.name for path in find_weights(copied).files] == [path.name for path in rapid.files]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^paddleocr: no weights; pass --weights ocr=FOLDER with det/ and rec/ as "):
        find_weights(None)
    with pytest.raises(UsageError, match=r"^paddleocr: no folder /nowhere; pass --weights ocr=FOLDER with "):
        find_weights(Path("/nowhere"))
    half = files(tmp_path, "det/inference.onnx", "det/inference.yml", "rec/inference.onnx")
    with pytest.raises(UsageError, match=rf"^paddleocr: no weights, or more than one set, in {half}; pass a folder "):
        find_weights(half)


def read(python: Path, folder: Path, pictures: list[RgbImage], **settings: object) -> Any:
    np.savez(folder / "pictures.npz", **{str(number): picture for number, picture in enumerate(pictures)})
    (folder / "job.json").write_text(json.dumps({"pictures": str(folder / "pictures.npz"), "settings": settings}))
    done = subprocess.run(
        [python, READER, folder / "job.json"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def page(seed: int) -> RgbImage:
    """Clean lines of words, of sizes as signs and labels have them."""
    chance = random.Random(seed)
    image = Image.new("RGB", (512, 360), "white")
    y = 12
    while y < 310:
        size = chance.choice((20, 26, 34, 44))
        words = " ".join(chance.sample(WORDS, 3 if size < 40 else 2))
        ImageDraw.Draw(image).text((16, y), words, fill="black", font=ImageFont.load_default(size=size))
        y += size + 18
    return np.asarray(image)


def overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, width) * max(0.0, height)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


@BUILT
@pytest.mark.slow
def test_agrees_with_rapidocr_on_clean_text(tmp_path: Path) -> None:
    blank = np.full((100, 160, 3), 255, np.uint8)
    pictures = [*map(page, range(10)), blank, np.zeros((20, 3000, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
    found = read(get_interpreter("paddleocr"), tmp_path, pictures, weights=str(MODELS))
    assert found["same"], "a picture's lines are the same whatever is in its batch"
    assert found["lines"][10:] == [[], [], []]
    assert found["fingerprint"]["version"] == (
        "paddleocr 3.7.0, paddlex 3.7.2, onnxruntime 1.31.1, opencv-contrib-python 4.10.0.84"
    )
    engine = RapidOcr()
    assert found["fingerprint"]["weights_sha256"] == engine.fingerprint.weights_sha256, "the same files"
    both = same = 0
    for mine, theirs in zip(found["lines"][:10], engine.annotate(pictures[:10]), strict=True):
        assert len(mine) == len(theirs)
        for one in mine:
            for other in theirs:
                if overlap(one["box"], other.box) >= 0.5:
                    both, same = both + 1, same + (one["text"] == other.text)
    assert both >= 50
    assert same / both >= 0.95, (same, both)


@BUILT
@pytest.mark.slow
def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    page, texts = draw_columns(2)
    for order in ("columns", "lines"):
        found = read(get_interpreter("paddleocr"), tmp_path, [page], weights=str(MODELS), reading_order=order)
        cer = count_ordered_errors(texts, [line["text"] for line in found["lines"][0]]).cer
        assert (cer < 0.02) is (order == "columns"), cer
        assert found["fingerprint"]["settings"].get("reading_order", "lines") == order


@BUILT
def test_what_is_wrong_with_weights_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    for name in ("det.onnx", "rec.onnx"):  # a detector has no characters
        shutil.copy(MODELS / "PP-OCRv6_det_small.onnx", tmp_path / name)
    with pytest.raises(AssertionError, match=r"UsageError: paddleocr: \S+rec\.onnx holds no characters; pass one "):
        read(get_interpreter("paddleocr"), tmp_path, [], weights=str(tmp_path))


@pytest.mark.slow
def test_weights_of_paddlepaddle(tmp_path: Path) -> None:
    """By paddlepaddle's build for CPUs, which has the code of that for GPUs; random weights: nonsense in one place."""
    python = os.environ.get("SHARDLOOM_PADDLE_PYTHON")
    if python is None:
        pytest.skip("SHARDLOOM_PADDLE_PYTHON, the interpreter of an environment with paddleocr and paddlepaddle")
    saver, environment = Path(__file__).parents[1] / "support/save_paddle.py", {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([python, saver, tmp_path / "w"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).text((30, 60), "HELLO WORLD", fill="black", font=ImageFont.load_default(size=40))
    blank = np.full((64, 64, 3), 255, np.uint8)
    settings = {"weights": str(tmp_path / "w"), "min_confidence": 0.0, "lines_per_pass": 4}
    found = read(Path(python), tmp_path, [np.asarray(image), blank], **settings)
    assert found["same"]
    assert found["lines"][1] == []
    assert found["lines"][0]
    assert all(60 / 200 - 0.1 < line["box"][1] < line["box"][3] < 0.7 for line in found["lines"][0])
    assert all(set(line["text"]) <= set("abcdefghij ") for line in found["lines"][0])
    assert "paddlepaddle" in found["fingerprint"]["version"]
    assert found["fingerprint"]["settings"]["device"] == "cpu"
    with pytest.raises(AssertionError, match=r"UsageError: paddleocr: no GPU for these weights here; pass device=cpu "):
        read(Path(python), tmp_path, [], **settings, device="cuda")


@BUILT
def test_weights_that_need_paddlepaddle_say_so(tmp_path: Path) -> None:
    own = files(tmp_path, *(f"{m}/inference.{end}" for m in ("det", "rec") for end in ("json", "pdiparams", "yml")))
    with pytest.raises(AssertionError, match="UsageError: paddleocr: these weights need paddlepaddle, which is not in"):
        read(get_interpreter("paddleocr"), tmp_path, [], weights=str(own))


def test_the_folder_that_paddleocr_keeps_files_in_is_this_users_alone(tmp_path: Path) -> None:
    folder = make_private_cache(tmp_path)
    assert (folder.parent, stat.S_IMODE(folder.stat().st_mode)) == (tmp_path, 0o700)
    assert make_private_cache(tmp_path) == folder
    folder.chmod(0o777)
    with pytest.raises(UsageError, match=r"^paddleocr: .*/paddlex-\d+ is not private to you; set PADDLE_PDX_"):
        make_private_cache(tmp_path)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not private to you"):
        make_private_cache(tmp_path)
