"""A set by reference on an object store, behind a proxy that spoils answers: made, checked, trained from and copied."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.materialise import materialise
from pipelines.shard.run import shard
from pipelines.verify.run import verify
from schemas.errors import ShardloomError
from schemas.output_set.image_folders import ADVICE
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, join
from tests.support.s3.bucket import Bucket
from tests.training.support.runs import equal
from tests.training.support.sets import plan
from training.data.loader import PackLoader, StepData

FAULTS = ("reset", "throttle", "cut")  # the others are of writes, or take seconds


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s3")
    images = make_shards(folder / "images", 2, 12)
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, captions, folder / "copied", samples_per_shard=10)
    return folder


@pytest.fixture
def referring(made: Path, bucket: Bucket) -> str:
    """In the bucket with its images; its captions are on the disk."""
    bucket.store.upload(made / "images", f"{bucket.url}/images")
    output = f"{bucket.url}/set"
    recipe = ShardRecipe(
        images=[f"{bucket.url}/images/*.tar"],
        captions=str(made / "captions"),
        samples_per_shard=10,
        by_reference=True,
        run=ALONE,
    )
    shard(recipe, output)
    return output


def steps(folder: Path, output: str) -> list[StepData]:
    loader = PackLoader(plan(folder, {"ocr": output}, sequence_length=256), global_batch_size=4)
    found = list(loader.iterate_steps())
    loader.close()
    return found


def spoil_some(number: int) -> str | None:
    """Each of three kinds of fault in its turn, in every tenth request."""
    return FAULTS[number // 10 % len(FAULTS)] if number % 10 == 2 else None


def test_all_of_it_with_faults(made: Path, referring: str, bucket: Bucket, tmp_path: Path) -> None:
    known = steps(tmp_path, str(made / "copied"))
    bucket.proxy.restart(spoil_some)
    assert verify(referring) == (2, [])
    for one, other in zip(steps(tmp_path, referring), known, strict=True):
        assert one.bad_samples == []
        for left, right in zip(one.batches, other.batches, strict=True):
            assert [[name.key for name in row] for row in left.samples] == [
                [name.key for name in row] for row in right.samples
            ]
            assert equal(left, replace(right, samples=left.samples))
    materialise(referring, ALONE, [], f"{bucket.url}/copied")
    faults = Counter(request.fault for request in bucket.proxy.requests if request.fault)
    assert set(faults) == set(FAULTS), faults
    found = bucket.store.hashes(f"{bucket.url}/copied")
    data = {name for name in found if name.startswith(("data/", "index/"))}
    assert len(data) == 4
    assert {name: found[name] for name in data} == {name: hashes(made / "copied")[name] for name in data}


def test_neighbouring_images_are_one_request(referring: str, bucket: Bucket) -> None:
    """Those of a whole shard, here: of each output, as many requests as it has tars."""
    bucket.proxy.restart()
    materialise(referring, ALONE, [], f"{bucket.url}/copied")
    asked = Counter(
        request.path.rpartition("/")[2]
        for request in bucket.proxy.seen("GET", "/images/0")
        if not request.range.startswith("bytes=0-")  # the report at the end reads tars from their start
    )
    assert asked == {"00000000.tar": 1, "00000001.tar": 2}, "the second tar is of both outputs"


def test_what_is_missing_or_has_changed(referring: str, bucket: Bucket, tmp_path: Path) -> None:
    images = f"{bucket.url}/images"
    data = bucket.store.objects(images)
    bucket.store.put(f"{images}/00000001.tar", data["00000001.tar"][::-1])
    (line,) = verify(referring)[1]
    assert line.startswith(f"{images}/00000001.tar: has changed: 9 of 9 images of this set differ, first that of ")
    (bad,) = {fault.reason for step in steps(tmp_path, referring) for fault in step.bad_samples}
    assert bad == (
        f"{images}/00000001.tar has changed since this set was made from it: restore the tar, or make the set again"
    )
    name = images.removeprefix("s3://").split("/")
    bucket.store.client.delete_object(Bucket=name[0], Key=f"{name[1]}/00000001.tar")
    (line,) = verify(referring)[1]
    assert line.startswith(f"{images}/00000001.tar: is missing, with 9 images of this set, first that of ")
    with pytest.raises(ShardloomError) as error:
        steps(tmp_path, referring)
    assert str(error.value) == (
        f"cannot read {images}/00000001.tar: No such file or directory: it holds images that a set refers to; {ADVICE}"
    )


def test_moved_images(referring: str, bucket: Bucket, made: Path) -> None:
    bucket.store.upload(made / "images", f"{bucket.url}/there")
    for name in ("00000000.tar", "00000001.tar"):
        where = f"{bucket.url}/images/{name}".removeprefix("s3://").split("/", 1)
        bucket.store.client.delete_object(Bucket=where[0], Key=where[1])
    assert len(verify(referring)[1]) == 2
    assert verify(referring, [f"{bucket.url}/images={bucket.url}/there"]) == (2, [])
