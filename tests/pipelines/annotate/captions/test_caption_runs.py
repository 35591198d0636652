"""Captions by a server in a run: beside other engines, in one column, redone alone, within a budget."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.engines.captions.runtime.pictures import encode_image
from curation.images.decode import DecodeLimits, decode
from pipelines.annotate.run import annotate
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.sets import rows
from tests.support.caption_server import CaptionServer, hash_data_url, running_server, write_caption

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]

DENSE, KNOWLEDGE = "Describe it: {alt_text}\n", "{dense} / {ocr}\n"
IMAGES = 6
COST = 110  # tokens of each caption that the server writes


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), shards=1, samples=IMAGES)


@pytest.fixture
def server() -> Iterator[CaptionServer]:
    with running_server() as running:
        yield running


def make_recipe(folder: Path, images: str, server: CaptionServer, **run: Any) -> AnnotateRecipe:
    """OCR and two captions, of which the second reads what the others have found."""
    captions: dict[str, Any] = {}
    for name, text in (("dense", DENSE), ("knowledge", KNOWLEDGE)):
        (folder / f"{name}.txt").write_text(text)
        captions[name] = {
            "engine": "endpoint",
            "settings": {"model": "m", "send_image": name == "dense"},
            "prompt": str(folder / f"{name}.txt"),
        }
    settings = {"captions": {"base_url": server.url, "in_flight": 3, "patience_seconds": 5.0}}
    engines = {"ocr": {"engine": "PixelOcr"}, "captions": captions}
    values = {"input": images, "engines": engines, "chunk": {"samples": 3}}
    return AnnotateRecipe.model_validate(values | {"run": {"workers": 1, "settings": settings} | run})


def hash_as_sent(seed: int) -> str:
    """The hash by which the server knows an image of the shard."""
    return hash_data_url(encode_image(decode(jpeg(seed), DecodeLimits()), EndpointSettings()))


def expect_caption(row: dict[str, Any], name: str, seed: int) -> dict[str, Any]:
    """What the server writes for one image: each caption by the prompt that its own image fills."""
    text = write_caption(hash_as_sent(seed), f"Describe it: {row['caption']}")
    if name == "knowledge":
        text = write_caption("text", f"{text} / {row['ocr'][0]['text']}")
    ended = {"status": "ok", "finish_reason": "stop", "prompt_tokens": 100, "completion_tokens": 10}
    return {"name": name, "text": text} | ended


def empty(name: str, status: str, **more: Any) -> dict[str, Any]:
    """A caption without a text."""
    counts = dict.fromkeys(("finish_reason", "prompt_tokens", "completion_tokens"))
    return {"name": name, "text": "", "status": status} | counts | more


@pytest.mark.slow
def test_two_captions_beside_ocr(images: str, tmp_path: Path) -> None:
    """An image whose caption fails keeps the rest, and the worker asks for a chunk while it waits for another."""
    outcomes = {hash_as_sent(1): "bad", hash_as_sent(4): "refused"}
    held, other = hash_as_sent(0), hash_as_sent(5)  # of two chunks

    def holds(server: CaptionServer, pixels: str) -> bool:
        return pixels == held and all(answered != other for answered, _ in server.answered)

    with running_server(choose=lambda pixels: outcomes.get(pixels, "ok"), holds=holds) as server:
        recipe = make_recipe(tmp_path, images, server)
        annotate(recipe, str(tmp_path / "out"))
    assert annotate(recipe, str(tmp_path / "out")).is_unchanged, "a finished run asks no server"
    found = rows(tmp_path / "out")
    assert [*found[0]][-3:] == ["ocr", "captions", "failures"]
    expected = [[expect_caption(row, name, seed) for name in ("dense", "knowledge")] for seed, row in enumerate(found)]
    expected[1] = [empty("dense", "error"), empty("knowledge", "error")]
    counts = {"finish_reason": "stop", "prompt_tokens": 100, "completion_tokens": 10}
    expected[4] = [empty("dense", "refused", **counts), empty("knowledge", "error")]
    assert [row["captions"] for row in found] == expected
    no_input = {
        "engine": "captions.knowledge",
        "reason": "no_input",
        "detail": "the prompt needs dense, which this image has not got",
    }
    error = {
        "engine": "captions.dense",
        "reason": "engine_error",
        "detail": "HTTP 400: no such image for Bearer none",
    }
    assert [row["failures"] for row in found] == [[], [error, no_input], [], [], [no_input], []]
    check_set(tmp_path / "out", server)


def check_set(output: Path, server: CaptionServer) -> None:
    """The set is whole, counts its captions, and knows the prompts but not the server."""
    assert verify(str(output)) == (1, [])
    [manifest] = read_manifests(Folder(str(output))).values()
    assert sorted(manifest.fingerprints) == ["captions.dense", "captions.knowledge", "ocr"]
    settings = manifest.fingerprints["captions.knowledge"].settings
    assert settings["prompt_sha256"] == hashlib.sha256(KNOWLEDGE.encode()).hexdigest()
    assert "base_url" not in settings
    assert {name: count for name, count in manifest.counts.items() if "tokens" in name or "captions" in name} == {
        "empty_captions": 0,
        "captions": 12,
        "captions_truncated": 0,
        "captions_refused": 1,
        "captions_error": 3,
        "prompt_tokens": 900,
        "completion_tokens": 90,
    }
    stored = yaml.safe_load((output / "recipe.yaml").read_text())
    assert server.url not in str(stored)
    assert stored["engines"]["captions"]["dense"]["prompt_sha256"] == hashlib.sha256(DENSE.encode()).hexdigest()


def test_a_server_that_is_not_there_is_found_before_any_work(images: str, tmp_path: Path) -> None:
    with running_server() as server:
        recipe = make_recipe(tmp_path, images, server)
    with pytest.raises(UsageError, match=rf"^endpoint: no server answers at {server.url} \(connection refused\): "):
        annotate(recipe, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_caption_with_another_prompt_is_redone_alone(images: str, server: CaptionServer, tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, images, server)
    annotate(recipe, str(tmp_path / "out"))
    (tmp_path / "knowledge.txt").write_text("Other: {dense}")
    before = len(server.asked)
    with pytest.raises(UsageError, match=r"engines\.captions\.knowledge\.prompt_sha256 is "):
        annotate(recipe, str(tmp_path / "out"))
    reuse = recipe.run.model_copy(update={"reuse": str(tmp_path / "out")})
    annotate(recipe.model_copy(update={"run": reuse}), str(tmp_path / "more"))
    assert [pixels for pixels, _ in server.asked[before:]] == ["text"] * IMAGES, "the first caption is not asked again"
    found = rows(tmp_path / "more")
    assert [row["captions"][0] for row in found] == [
        expect_caption(row, "dense", seed) for seed, row in enumerate(found)
    ]
    assert [row["captions"][1]["text"] for row in found] == [
        write_caption("text", f"Other: {row['captions'][0]['text']}") for row in found
    ]
    assert read_times(Folder(str(tmp_path / "more"))).tokens == IMAGES * COST


@pytest.mark.slow
def test_a_worker_is_replaced_when_all_its_chunks_are_done(images: str, server: CaptionServer, tmp_path: Path) -> None:
    """No image is asked for twice, although another chunk is at work when one finds that it is the process's last."""
    recipe = make_recipe(tmp_path, images, server, recycle_images=1)
    recipe = recipe.model_copy(update={"chunk": recipe.chunk.model_copy(update={"samples": 1})})
    annotate(recipe, str(tmp_path / "out"))
    stages = read_times(Folder(str(tmp_path / "out"))).stages
    assert stages["captions.dense"]["recycled"] >= 2
    assert stages["captions.dense"]["deaths"] == stages["captions.knowledge"]["deaths"] == 0
    assert len(server.asked) == 2 * IMAGES


@pytest.mark.slow
def test_a_server_whose_key_is_withdrawn_ends_the_run(images: str, tmp_path: Path) -> None:
    """It does not fail on images: the same command captions them with another key."""
    refused = [True]

    def choose(_: str) -> str:
        return "unauthorized" if refused[0] else "ok"

    with running_server(choose=choose) as server:
        recipe = make_recipe(tmp_path, images, server)
        with pytest.raises(ShardloomError, match=rf"^endpoint: {server.url} refuses \(HTTP 401: "):
            annotate(recipe, str(tmp_path / "out"))
        refused[0] = False
        assert annotate(recipe, str(tmp_path / "out")).rows_out == IMAGES
    found = rows(tmp_path / "out")
    assert [row["captions"][0] for row in found] == [
        expect_caption(row, "dense", seed) for seed, row in enumerate(found)
    ]


@pytest.mark.slow
def test_the_tokens_end_a_run_and_the_same_command_goes_on(images: str, server: CaptionServer, tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, images, server, max_total_tokens=3 * 2 * COST)
    with pytest.raises(ShardloomError) as error:
        annotate(recipe, str(tmp_path / "out"))
    assert error.value.exit_code == 1
    assert str(error.value) == (
        "the run has used 660 tokens, of run.max_total_tokens 660: finished work is kept; the same command resumes the "
        "run, and may use as many again"
    )
    with contextlib.suppress(ShardloomError):  # where the first run ended before the second chunk was done
        annotate(recipe, str(tmp_path / "out"))
    assert annotate(recipe, str(tmp_path / "out")).rows_out == IMAGES
    found = rows(tmp_path / "out")
    assert [row["captions"][0] for row in found] == [
        expect_caption(row, "dense", seed) for seed, row in enumerate(found)
    ]
