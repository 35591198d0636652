"""Several engines in one pass: one decode, failures apart, the same bytes always, engines added later."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.demo_detector.vocabulary import LABELS
from curation.engines.kinds import EngineKind
from pipelines.annotate.run import annotate
from pipelines.demo.shards import write_shards
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateFilters, AnnotateRecipe, AnnotateRun, ChunkOptions
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg, write_shard
from tests.curation.engines.support.tiny_siglip import NAMES, save_tiny_siglip
from tests.pipelines.support.drivers import Driver, hashes, wait_until
from tests.pipelines.support.hostile import write_compressed_tar
from tests.pipelines.support.sets import rows

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]

NO_FILTERS = AnnotateFilters(min_side=None, max_aspect=None)
CHUNK = 9  # of the runs that are killed


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every caption of the shards made here mentions the first of these."""
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("picture\nmap\n")
    return str(path)


def engines(vocabulary: str, boxes: str = "PixelBoxes", **settings: Any) -> dict[EngineKind, Any]:
    return {
        "ocr": {"engine": "PixelOcr"},
        "tags": {"engine": "caption", "settings": {"vocabulary": vocabulary}},
        "boxes": {"engine": boxes, "settings": settings, "batch_size": 3},
    }


def recipe(images: str, given: dict[EngineKind, Any], **options: Any) -> AnnotateRecipe:
    values = {"chunk": ChunkOptions(samples=8), "filters": NO_FILTERS, "run": AnnotateRun(workers=1)} | options
    return AnnotateRecipe.model_validate({"input": images, "engines": given} | values)


def with_one_wide(folder: Path, wide: int = 5, samples: int = 12) -> str:
    """A shard in which one picture is 80 pixels wide, the others 64."""
    folder.mkdir(exist_ok=True)
    write_shard(folder / "00000000.tar", [jpeg(n, width=80 if n == wide else 64) for n in range(samples)])
    return f"{folder}/*.tar"


def test_one_pass_with_three_engines(make_shards: Callable[..., str], vocabulary: str, tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=2, samples=20)
    outputs = []
    for workers in (1, 2):
        output = tmp_path / f"out{workers}"
        run = AnnotateRun.model_validate({"workers": workers, "resources": {"boxes": {"workers": 1, "cpus": 0.25}}})
        annotate(recipe(images, engines(vocabulary), run=run), str(output))
        outputs.append(hashes(output))
        stages = read_times(Folder(str(output))).stages
        assert {name: counts["workers"] for name, counts in stages.items()} == {
            "tags": 1,
            "decode": 1,
            "ocr": workers,
            "boxes": 1,
        }
        assert {counts["images"] for counts in stages.values()} == {40}  # each decoded once, and seen once by each
    assert outputs[0] == outputs[1]
    row = rows(tmp_path / "out1")[0]
    assert [*row][-4:] == ["ocr", "tags", "boxes", "failures"]
    assert (row["key"], row["width"], row["height"]) == ("000000000000", 64, 48)
    assert row["tags"] == [{"name": "picture", "score": 1.0, "source": "caption", "start": 0, "end": 7}]
    assert ([box["label"] for box in row["boxes"]], len(row["ocr"]), row["failures"]) == (["picture"], 1, [])
    red, green, _ = map(int, row["ocr"][0]["text"].split("-"))
    assert (int(row["boxes"][0]["x1"] * 512), int(row["boxes"][0]["y1"] * 512)) == (red, green)  # of the same pixels
    (manifest, _) = read_manifests(Folder(str(tmp_path / "out1"))).values()
    assert manifest.counts == {"empty_captions": 0, "text_lines": 20, "tags": 20, "boxes": 20, "failures": 0}
    assert sorted(manifest.fingerprints) == ["boxes", "ocr", "tags"]
    assert verify(str(tmp_path / "out1")) == (2, [])


@pytest.mark.slow
def test_real_engines_in_one_pass(tmp_path: Path) -> None:
    """RapidOCR, SigLIP (random weights) and Grounding-DINO, over pictures and scenes."""
    write_shards(Folder(str(tmp_path / "images")), count=10, per_shard=5)
    save_tiny_siglip(tmp_path)
    (tmp_path / "words.txt").write_text("\n".join(sorted({*NAMES, *LABELS})))
    given: dict[EngineKind, Any] = {
        "ocr": {"engine": "rapidocr"},
        "tags": {
            "engine": "siglip",
            "settings": {"weights": str(tmp_path), "vocabulary": str(tmp_path / "words.txt"), "max_tags": 3},
        },
        "boxes": {"engine": "grounding_dino", "settings": {"allow_out_of_vocabulary": True}},
    }
    outputs = []
    for workers in (1, 2):
        output = tmp_path / f"out{workers}"
        asked = recipe(
            f"{tmp_path}/images/*.tar", given, run=AnnotateRun(workers=workers), chunk=ChunkOptions(samples=3)
        )
        assert annotate(asked, str(output)).counts["failures"] == 0
        outputs.append(hashes(output))
    assert outputs[0] == outputs[1]
    found = rows(tmp_path / "out1")
    assert any(row["ocr"] for row in found)
    for row in found:
        assert len([tag for tag in row["tags"] if tag["source"] == "image"]) <= 3
        assert {box["label"] for box in row["boxes"]} <= {tag["name"] for tag in row["tags"]}
    mentioned = {tag["name"] for row in found for tag in row["tags"] if tag["source"] == "caption"}
    assert mentioned & {box["label"] for row in found for box in row["boxes"]}
    assert any(tag["source"] == "image" for row in found for tag in row["tags"])


@pytest.mark.parametrize(
    ("boxes", "reason", "detail"),
    [
        ("FailingBoxes", "engine_error", "RuntimeError: no boxes today"),
        pytest.param(
            *("KillerBoxes", "worker_killed", "2 workers died while processing only this sample"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_image_whose_boxes_fail_keeps_its_text(
    vocabulary: str, tmp_path: Path, boxes: str, reason: str, detail: str
) -> None:
    images = with_one_wide(tmp_path / "images")
    totals = annotate(recipe(images, engines(vocabulary, boxes, width=80)), str(tmp_path / "out"))
    assert (totals.rows_out, totals.reasons, totals.counts["failures"]) == (12, {}, 1)
    for number, row in enumerate(rows(tmp_path / "out")):
        assert len(row["ocr"]) == len(row["tags"]) == 1
        if number == 5:
            assert row["boxes"] is None
            assert row["failures"] == [{"engine": "boxes", "reason": reason, "detail": detail}]
        else:
            assert (len(row["boxes"]), row["failures"]) == (1, [])


@pytest.mark.slow
def test_an_image_whose_text_fails_keeps_its_boxes(vocabulary: str, tmp_path: Path) -> None:
    images = with_one_wide(tmp_path / "images")
    given = engines(vocabulary) | {"ocr": {"engine": "KillerOcr", "settings": {"width": 80}}}
    assert annotate(recipe(images, given), str(tmp_path / "out")).rows_out == 12
    row = rows(tmp_path / "out")[5]
    assert (row["ocr"], len(row["boxes"]), row["width"]) == (None, 1, 80)
    assert [(failure["engine"], failure["reason"]) for failure in row["failures"]] == [("ocr", "worker_killed")]


@pytest.mark.slow
def test_without_tags_there_is_nothing_to_box(tmp_path: Path) -> None:
    images = with_one_wide(tmp_path / "images")
    given = {
        "tags": {"engine": "FailingTags", "settings": {"caption": "picture 000000000003"}},
        "boxes": {"engine": "PixelBoxes"},
    }
    annotate(recipe(images, given), str(tmp_path / "out"))  # type: ignore[arg-type]
    row = rows(tmp_path / "out")[3]
    assert (row["tags"], row["boxes"]) == (None, None)
    assert [(failure["engine"], failure["detail"]) for failure in row["failures"]] == [
        ("tags", "RuntimeError: no tags today"),
        ("boxes", "nothing to look for: the tag engine failed"),
    ]


@pytest.mark.slow
def test_hostile_files_cost_no_neighbour(data: Path, vocabulary: str, tmp_path: Path) -> None:
    hostile = sorted(path for path in (data / "hostile").iterdir() if path.name != "expected.json")
    pictures = [picture for number, path in enumerate(hostile) for picture in (jpeg(number), path.read_bytes())]
    write_shard(tmp_path / "00000000.tar", pictures)
    asked = recipe(f"{tmp_path}/*.tar", engines(vocabulary))
    totals = annotate(asked, str(tmp_path / "all"))
    assert (totals.rows_in, totals.counts["failures"]) == (160, 0)
    verdicts = json.loads((data / "hostile/expected.json").read_text())["files"]
    must_go = {Path(entry["file"]).name for entry in verdicts if entry["expected"] == "must_be_rejected"}
    assert len(must_go) == 28
    assert must_go <= {hostile[int(row["key"]) // 2].name for row in rows(tmp_path / "all", "quarantine")}
    alone = recipe(f"{tmp_path}/*.tar", {"ocr": {"engine": "PixelOcr"}})
    assert annotate(alone, str(tmp_path / "ocr")).reasons == totals.reasons
    assert rows(tmp_path / "all", "quarantine") == rows(tmp_path / "ocr", "quarantine")
    kept = [(row["key"], row["ocr"]) for row in rows(tmp_path / "all")]
    assert kept == [(row["key"], row["ocr"]) for row in rows(tmp_path / "ocr")]


@pytest.mark.slow
def test_engines_added_later_give_the_bytes_of_one_pass(vocabulary: str, tmp_path: Path) -> None:
    """Over samples of all kinds: good ones, one that every engine failed on, a repeated key, and hostile ones."""
    images = with_one_wide(tmp_path / "images")
    write_compressed_tar(tmp_path / "images/00000001.tar")
    write_shard(tmp_path / "images/00000002.tar", [b"no image", jpeg(1), jpeg(2)], first=20_000)
    write_key_twice(tmp_path / "images/00000003.tar")
    given = engines(vocabulary) | {
        "ocr": {"engine": "FailingOcr", "settings": {"width": 80, "log": str(tmp_path / "calls.log")}},
        "tags": {"engine": "FailingTags", "settings": {"caption": "picture 000000000005"}},
    }
    totals = annotate(recipe(images, given), str(tmp_path / "once"))
    assert totals.reasons == {"missing_image": 3, "not_an_image": 1, "duplicate_key": 1}
    failed = [row["failures"] for row in rows(tmp_path / "once") if row["failures"]]
    assert [[failure["engine"] for failure in failures] for failures in failed] == [["ocr", "tags", "boxes"]]
    for first in (("ocr",), ("tags",), ("ocr", "tags")):
        name = "".join(first)
        begun, added = tmp_path / f"begun{name}", tmp_path / f"added{name}"
        annotate(recipe(images, {kind: given[kind] for kind in first}), str(begun))
        read = calls(tmp_path)
        annotate(recipe(images, given, run=AnnotateRun(workers=1, reuse=str(begun))), str(added))
        assert hashes(added) == hashes(tmp_path / "once")
        assert (calls(tmp_path) == read) == ("ocr" in first)


def calls(folder: Path) -> int:
    """Images that were read so far."""
    return len((folder / "calls.log").read_text().splitlines())


def write_key_twice(path: Path) -> None:
    """Three samples, of which the last one has the first one's key."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for number, key in enumerate(("a", "b", "a")):
            writer.add(f"{key}.jpg", jpeg(number))
            writer.add(f"{key}.json", json.dumps({"caption": f"picture {number}"}).encode())
        writer.close()


def test_what_cannot_be_added_to(make_shards: Callable[..., str], vocabulary: str, tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=1)
    ocr = {"ocr": engines(vocabulary)["ocr"]}
    annotate(recipe(images, ocr), str(tmp_path / "old"))  # type: ignore[arg-type]

    def add(**options: Any) -> None:
        run = AnnotateRun(workers=1, reuse=str(tmp_path / "old"))
        given = options.pop("engines", engines(vocabulary))
        annotate(recipe(images, given, run=run, **options), str(tmp_path / "new"))

    with pytest.raises(UsageError, match=r"old: chunk is .* there and .* here"):
        add(chunk=ChunkOptions(samples=9))
    with pytest.raises(UsageError, match="old holds no annotations of the engines in this recipe"):
        add(engines={"tags": {"engine": "caption"}})
    make_shards(tmp_path / "images", shards=2)
    with pytest.raises(UsageError, match="old already holds all annotations of this recipe: there is nothing to add"):
        add(engines=ocr)
    with pytest.raises(UsageError, match=r"old is not finished: 1 shards are missing \(00000001\)"):
        add()
    (tmp_path / "images/00000001.tar").unlink()
    write_shard(tmp_path / "images/00000000.tar", [jpeg(7)])
    with pytest.raises(UsageError, match=r"shard 00000000 has changed since .*old was made from it"):
        add()
    write_shard(tmp_path / "images/00000000.tar", [jpeg(number) for number in range(21)])  # one more than before
    with pytest.raises(UsageError, match=r"shard 00000000 has changed since .*old was made from it"):
        add()


@pytest.mark.slow
def test_an_addition_that_was_refused_leaves_nothing_behind(
    make_shards: Callable[..., str], vocabulary: str, tmp_path: Path
) -> None:
    """What it reused before it found the change must not be in the output of a later run."""
    images = make_shards(tmp_path / "images", shards=1)
    annotate(recipe(images, {"ocr": engines(vocabulary)["ocr"]}), str(tmp_path / "old"))  # type: ignore[arg-type]
    write_shard(tmp_path / "images/00000000.tar", [jpeg(number) for number in range(21)])  # one more than before
    run = AnnotateRun(workers=1, reuse=str(tmp_path / "old"))
    with pytest.raises(UsageError, match=r"shard 00000000 has changed since .*old was made from it"):
        annotate(recipe(images, engines(vocabulary), run=run), str(tmp_path / "new"))
    for output in ("new", "fresh"):
        annotate(recipe(images, engines(vocabulary)), str(tmp_path / output))
    assert hashes(tmp_path / "new") == hashes(tmp_path / "fresh")


@pytest.fixture(scope="module")
def killed(make_shards: Callable[..., str], vocabulary: str, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A run of three engines without a hitch; its recipe is the one that the tests below run."""
    folder = tmp_path_factory.mktemp("killed")
    driver = three_engines(folder, make_shards(folder / "images", shards=2, samples=30), vocabulary)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    return driver


def three_engines(folder: Path, images: str, vocabulary: str) -> Driver:
    driver = Driver(folder, images, engines=engines(vocabulary), chunk=CHUNK)
    driver.environment |= {"BOX_LOG": str(folder / "boxes.log"), "CALL_SECONDS": "0.02"}
    (folder / "boxes.log").touch()
    return driver


def boxed(driver: Driver) -> list[str]:
    """The process of each image that was boxed so far."""
    return (driver.folder / "boxes.log").read_text().splitlines()


@pytest.mark.slow
def test_kills_of_the_workers_of_every_pool(killed: Driver, vocabulary: str, tmp_path: Path) -> None:
    """The box engine's scores depend on what else is in a batch: a retry must not cut batches anew."""
    driver = three_engines(tmp_path, str(killed.folder / "images/*.tar"), vocabulary)
    process = driver.start()
    for calls in (5, 20):
        wait_until(lambda calls=calls: driver.calls() >= calls)
        os.kill(int(driver.log.read_text().splitlines()[-1]), signal.SIGKILL)
        wait_until(lambda calls=calls: len(boxed(driver)) >= calls)
        os.kill(int(boxed(driver)[-1]), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert hashes(driver.output) == hashes(killed.output)
    for repeated in (driver.calls() - 60, len(boxed(driver)) - 60):
        assert 0 < repeated <= 2 * CHUNK, "two workers of each pool were killed"


@pytest.mark.slow
def test_kills_of_the_driver(killed: Driver, vocabulary: str, tmp_path: Path) -> None:
    driver = three_engines(tmp_path, str(killed.folder / "images/*.tar"), vocabulary)
    driver.environment["BOX_SECONDS"] = (
        "1.5"  # workers outlive their driver for a moment, and may finish a faster chunk
    )
    for _ in range(2):
        calls = len(boxed(driver)) + 4
        assert driver.kill_when(lambda calls=calls: len(boxed(driver)) >= calls)
    del driver.environment["BOX_SECONDS"]
    kept, before = driver.count_kept(driver.folder / "boxes.log"), len(boxed(driver))
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert hashes(driver.output) == hashes(killed.output)
    assert before > kept, "work was lost"
    assert len(boxed(driver)) - before == 60 - kept
