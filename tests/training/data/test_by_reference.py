"""The trainer reads a set by reference as it does a copied one, and says in one line what is wrong with its images."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import ShardloomError, UsageError
from schemas.output_set.image_folders import ADVICE
from tests.pipelines.support.sets import annotation_set, caption_set, join, rows
from tests.training.support import runs
from tests.training.support.runs import equal
from tests.training.support.sets import captioned, plan, write_set
from training.data.loader import PackLoader, StepData
from training.data.plan import PackPlan
from training.recipe import TrainRecipe, find_resume_conflicts


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same set twice, copied and by reference."""
    folder = tmp_path_factory.mktemp("by-reference")
    images = make_shards(folder / "images", 2, 12)
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, captions, folder / "copied")
    join(images, captions, folder / "referring", by_reference=True)
    return folder


def steps(plan: PackPlan, workers: int = 0) -> list[StepData]:
    loader = PackLoader(plan, global_batch_size=4, prefetch=2, workers=workers)
    try:
        return list(loader.iterate_steps())
    finally:
        loader.close()


def planned(folder: Path, output: Path, **options: object) -> PackPlan:
    return plan(folder, {"ocr": str(output)}, sequence_length=128, **options)


def moved(made: Path, folder: Path) -> Path:
    """A copy of the set in another folder, to which it refers."""
    shutil.copytree(made / "images", folder / "images")
    captions = made / "captions"
    join(f"{folder}/images/*.tar", captions, folder / "set", by_reference=True)
    return folder / "set"


def test_the_batches_are_those_of_a_copied_set(made: Path, tmp_path: Path) -> None:
    known = steps(planned(tmp_path, made / "copied"))
    for workers in (0, 2):
        found = steps(planned(tmp_path, made / "referring"), workers)
        assert len(found) == len(known) > 1
        for one, other in zip(found, known, strict=True):
            assert (one.cursor, one.left_out, one.split, one.bad_samples) == (other.cursor, other.left_out, {}, [])
            for left, right in zip(one.batches, other.batches, strict=True):
                names = tuple([(name.source, name.key) for name in row] for row in left.samples)
                assert names == tuple([(name.source, name.key) for name in row] for row in right.samples)
                assert equal(left, runs.replace(right, samples=left.samples))


def test_the_losses_are_those_of_a_copied_set_to_the_bit(made: Path, tokenizer: Path, tmp_path: Path) -> None:
    """With the text that a rule chooses, whose tokens no index counts."""
    found = {}
    for name in ("copied", "referring"):
        rules = {"ocr": {"strip_filler": True}}
        data = steps(planned(tmp_path, made / name, texts=rules, repeats={"ocr": 2}))[:2]
        sources = {"sources": {"ocr": str(made / name)}, "weights": {"ocr": 1}}
        held = runs.trainer(runs.recipe(tokenizer, data=sources))
        found[name] = [runs.step(held, step.batches, number) for number, step in enumerate(data)]
        found[name] += [{key: value.tolist() for key, value in held.model.state_dict().items()}]
    assert len(found["copied"]) == 3
    assert found["referring"] == found["copied"]


def test_a_source_of_both_kinds(made: Path, tmp_path: Path) -> None:
    """One set in a source is by reference, the other not; and their tables are not made again where images moved."""
    output = moved(made, tmp_path)
    write_set(tmp_path / "other", [captioned(number, f"caption {number}") for number in range(6)])
    sources = {"ocr": str(output), "other": f"{tmp_path}/other", "both": f"{tmp_path}/{{set,other}}"}
    known = steps(plan(tmp_path, sources, sequence_length=128))
    assert [fault for step in known for fault in step.bad_samples] == []
    tables = sorted((tmp_path / "cache").iterdir())
    (tmp_path / "images").rename(tmp_path / "there")
    again = plan(tmp_path, sources, sequence_length=128, images={f"{tmp_path}/images": f"{tmp_path}/there"})
    for one, other in zip(steps(again), known, strict=True):
        assert all(equal(*pair) for pair in zip(one.batches, other.batches, strict=True))
    assert sorted((tmp_path / "cache").iterdir()) == tables


def test_a_changed_tar_costs_the_samples_that_changed(made: Path, tmp_path: Path) -> None:
    output = moved(made, tmp_path)
    row = rows(output, "index")[3]
    tar = Path(row["references"][0]["tar"])
    data = bytearray(tar.read_bytes())
    data[row["references"][0]["offset"] + 50] ^= 1
    tar.write_bytes(data)
    (fault,) = [fault for step in steps(planned(tmp_path, output)) for fault in step.bad_samples]
    assert (fault.source, fault.shard, fault.key) == ("ocr", f"{output}/data/00000000.tar", row["key"])
    assert fault.reason == f"{tar} has changed since this set was made from it: restore the tar, or make the set again"


def test_a_missing_tar_is_named(made: Path, tmp_path: Path) -> None:
    output = moved(made, tmp_path)
    made_plan = planned(tmp_path, output)
    (tmp_path / "images/00000001.tar").unlink()
    with pytest.raises(ShardloomError) as error:
        steps(made_plan)
    assert str(error.value) == (
        f"cannot read {tmp_path}/images/00000001.tar: No such file or directory: it holds images that a set refers to; "
        f"{ADVICE}"
    )


def test_moved_images_are_named_before_any_work(made: Path, tmp_path: Path) -> None:
    output, images = moved(made, tmp_path), tmp_path / "images"
    images.rename(tmp_path / "there")
    with pytest.raises(UsageError) as error:
        planned(tmp_path, output)
    assert str(error.value) == (
        f"source ocr: {output}: its images were in {images}, which is not there now: pass --images {images}=FOLDER, or "
        f"in a recipe images (a trainer's data.images): {{{images}: FOLDER}}"
    )
    found = planned(tmp_path, output, images={str(images): f"{tmp_path}/there"})
    assert [fault for step in steps(found) for fault in step.bad_samples] == []


def test_a_run_resumes_where_the_images_moved(tokenizer: Path) -> None:
    asked = runs.recipe(tokenizer)
    changed = TrainRecipe.model_validate(
        asked.model_dump() | {"data": asked.data.model_dump() | {"images": {"/a": "/b"}}}
    )
    assert changed.data.images == {"/a": "/b"}
    assert find_resume_conflicts(asked.resolve(), changed.resolve()) == []


def test_a_place_of_images_that_no_set_names_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        planned(tmp_path, made / "referring", images={f"{made}/image": str(tmp_path)})
    named = f"no set refers to images in {made}/image; they refer to {made}/images"
    assert str(error.value) == f"images: {named}"
    with pytest.raises(UsageError, match="they refer to none"):
        planned(tmp_path, made / "copied", images={f"{made}/images": str(tmp_path)})
