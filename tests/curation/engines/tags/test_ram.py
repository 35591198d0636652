"""The RAM engine with a tiny checkpoint of random weights."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curation.engines.batch_fitter import BatchFitter
from curation.engines.kinds import TAGS, EngineInput
from curation.engines.tags.ram import RamTags, prepare_pixels
from curation.engines.tags.ram_settings import RamTagSettings
from pipelines.engines.loader import check_engines
from pipelines.recipes.annotate import EngineOptions
from schemas.errors import UsageError
from schemas.records.tag import Tag
from tests.curation.engines.support.pictures import make_pictures
from tests.curation.engines.support.published_ram import make_tensors, save_checkpoint, tiny

NAMES = ("dog", "t shirt", "t-shirt", "tree", "cat")


@pytest.fixture(scope="module", params=["ram", "ram_plus"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    save_checkpoint(made / "weights.pth", make_tensors(tiny(request.param == "ram_plus")))
    (made / "names.txt").write_text("\n".join(NAMES))
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> RamTags:
    return RamTags(settings(folder))


@pytest.fixture(scope="module")
def scores(engine: RamTags) -> NDArray[np.float32]:
    return engine.score_images(pictures())


def settings(folder: Path, **others: Any) -> RamTagSettings:
    paths = {"weights": str(folder), "vocabulary": str(folder / "names.txt")}
    return RamTagSettings(**paths | {"device": "cpu"} | others)


def pictures() -> list[NDArray[np.uint8]]:
    """Of many shapes; one is three pixels high, one a single pixel."""
    return make_pictures([(48, 64), (3, 90), (1, 1), (224, 224), (300, 40)])


def test_batched_as_one_by_one(folder: Path, engine: RamTags, scores: NDArray[np.float32]) -> None:
    assert scores.shape == (5, 5)
    assert scores.std(axis=0).min() > 0.01  # else any constant would pass
    one_by_one = np.concatenate([engine.score_images([picture]) for picture in pictures()])
    assert np.array_equal(scores, one_by_one)  # to the bit: images_per_pass is 1 on the CPU
    batched = RamTags(settings(folder, images_per_pass=3))
    np.testing.assert_allclose(batched.score_images(pictures()), scores, rtol=0, atol=1e-5)
    assert engine.score_images([]).shape == (0, 5)


def test_smaller_passes_where_memory_is_full(folder: Path) -> None:
    batched = RamTags(settings(folder, images_per_pass=4, floor=0))
    sizes: list[int] = []
    score = batched._score_pass

    def score_two(images: Any) -> Any:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return score(images)

    batched._score_pass = score_two  # type: ignore[method-assign]
    notices: list[str] = []
    BatchFitter(TAGS, batched, notices.append).annotate(EngineInput(pictures(), [""] * 5, []))
    assert sizes == [4, 2, 2, 1]
    assert notices == ["tags: out of memory: a worker computes 2 images at a time from here on"]


def test_every_tag_above_the_floor_with_its_score(folder: Path, scores: NDArray[np.float32]) -> None:
    ordered = sorted(zip(map(float, scores[0]), NAMES, strict=True), reverse=True)
    every = [Tag(name, score, "image") for score, name in ordered]
    image, caption = pictures()[:1], ["a dog"]
    assert RamTags(settings(folder, floor=0)).annotate(image, caption) == [every]
    third = every[2].score  # a score that equals the floor is not above it
    assert RamTags(settings(folder, floor=third)).annotate(image, caption) == [every[:2]]
    assert RamTags(settings(folder, floor=1)).annotate(image, caption) == [[]]


def test_a_threshold_for_each_tag(folder: Path, scores: NDArray[np.float32], tmp_path: Path) -> None:
    file = tmp_path / "thresholds.txt"
    seen = dict(zip(NAMES, map(float, scores[0]), strict=True))
    limits = [seen["dog"] - 1e-3, seen["t shirt"] + 1e-3, 0, 1, seen["cat"] - 1e-3]
    file.write_text("\n".join(map(str, limits)))
    own = RamTags(settings(folder, thresholds=str(file), floor=0.99))  # which the file takes the place of
    kept = sorted(("dog", "t-shirt", "cat"), key=lambda name: -seen[name])
    assert [(tag.name, tag.score) for tag in own.annotate(pictures()[:1], [""])[0]] == [(n, seen[n]) for n in kept]


def test_pixels_are_those_of_the_published_transform() -> None:
    picture = pictures()[0]
    resized = Image.fromarray(picture).resize((8, 8), Image.Resampling.BILINEAR)
    pixels = prepare_pixels(picture, 8)
    assert (pixels.shape, pixels.dtype) == ((3, 8, 8), np.float32)
    red, green, blue = resized.getpixel((5, 2))  # type: ignore[misc]
    expected = [(red / 255 - 0.485) / 0.229, (green / 255 - 0.456) / 0.224, (blue / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(pixels[:, 2, 5], expected, rtol=0, atol=1e-6)


def test_bf16_is_close_and_its_own_engine(folder: Path, engine: RamTags, scores: NDArray[np.float32]) -> None:
    half = RamTags(settings(folder, precision="bf16"))
    np.testing.assert_allclose(half.score_images(pictures()), scores, atol=0.05)
    assert (half.fingerprint.settings["precision"], engine.fingerprint.settings["precision"]) == ("bf16", "fp32")


def test_fingerprint(folder: Path, engine: RamTags, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert RamTags(settings(copied)).fingerprint == engine.fingerprint
    assert engine.fingerprint.name == "ram"
    assert {name: engine.fingerprint.settings[name] for name in ("floor", "images_per_pass", "thresholds")} == {
        "floor": 0.68,
        "images_per_pass": 1,
        "thresholds": None,
    }
    (copied / "names.txt").write_text("\n".join(reversed(NAMES)))
    assert RamTags(settings(copied)).fingerprint != engine.fingerprint
    (tmp_path / "limits").write_text("0.5\n" * 5)
    assert RamTags(settings(folder, thresholds=str(tmp_path / "limits"))).fingerprint != engine.fingerprint


def test_non_finite_scores_are_an_error(folder: Path, tmp_path: Path) -> None:
    tensors = torch.load(folder / "weights.pth", weights_only=True)["model"]
    save_checkpoint(tmp_path / "nan.pth", tensors | {"fc.bias": torch.tensor([torch.nan])})
    with pytest.raises(RuntimeError, match="ram: non-finite scores in fp32 on cpu"):
        RamTags(settings(folder, weights=str(tmp_path / "nan.pth"))).annotate(pictures(), [""] * 5)


def test_what_cannot_work_is_refused_before_a_run(folder: Path, tmp_path: Path) -> None:
    def problem(**others: Any) -> str:
        values = settings(folder, **others).model_dump()
        with pytest.raises(UsageError) as error:
            check_engines({"tags": EngineOptions(engine="ram", settings=values)})
        assert "\n" not in str(error.value)
        return str(error.value)

    assert check_engines({"tags": EngineOptions(engine="ram", settings=settings(folder).model_dump())}) == []
    assert problem(weights="/nowhere").startswith("ram: no file /nowhere; pass weights=FILE, ")
    assert problem(vocabulary=None).startswith("ram: pass vocabulary=FILE with the tags of the weights, ")
    (tmp_path / "names.txt").write_text("dog\ncat")
    assert problem(vocabulary=str(tmp_path / "names.txt")).startswith(
        f"ram: {folder}/weights.pth has 5 tags, and the vocabulary 2; pass vocabulary=FILE with the tags of "
    )
    (tmp_path / "limits").write_text("0.5")
    assert problem(thresholds=str(tmp_path / "limits")).startswith(
        f"thresholds {tmp_path}/limits: 1 lines for 5 tags; "
    )
    (tmp_path / "cut.pth").write_bytes((folder / "weights.pth").read_bytes()[:-1000])
    assert problem(weights=str(tmp_path / "cut.pth")).startswith(f"ram: cannot read {tmp_path}/cut.pth: ")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="ram: no CUDA device here; pass device=cpu or device=auto"):
            RamTags(settings(folder, device="cuda"))
