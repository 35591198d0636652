"""Every command on an object store: the same bytes as on a disk, with and without faults, kills and refusals."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation.engines.tags.vocabulary import read_vocabulary
from curation.tokens import load_token_counter
from pipelines.cli.app import main
from pipelines.demo.documents import DOCUMENTS_FILE, URL_MAP_FILE, write_documents
from pipelines.ingest.run import ingest
from pipelines.ingest.stores.folder import FolderStore, list_files
from pipelines.mix.run import mix
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.render.base_captions import BaseCaptionFiles
from pipelines.render.run import render_set
from pipelines.shard.run import shard
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.recipe_file import read_recipe
from schemas.records.box import Detection
from schemas.records.identity import Identity
from schemas.storage.folder import Folder
from schemas.storage.options import OPTIONS_VARIABLE
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import NO_TOKEN, Driver, cluster_of, hashes, without_progress
from tests.pipelines.support.sets import ALONE, annotation_set, grounding_set, rows
from tests.support.s3.bucket import Bucket
from tests.support.s3.faults import KINDS, one_in_ten
from tests.support.s3.watch import half_written, is_data, watched

SETS = ("captions", "training", "documents", "mixed")
HASTY = json.dumps({"retry_seconds": 60, "config_kwargs": {"read_timeout": 1}})  # less than what the proxy's delay is
IMPATIENT = json.dumps({"retry_seconds": 0.3, "config_kwargs": {"read_timeout": 60}})


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, annotations and documents, and all that comes of them, on a disk."""
    folder = tmp_path_factory.mktemp("disk")
    images = make_shards(folder / "images", shards=3, samples=12)
    annotation_set(images, folder / "annotations")
    write_documents(Folder(f"{folder}/web"), 10)
    whole_path(str(folder))
    return folder


def whole_path(root: str) -> None:
    """From images, annotations and documents to a mixture."""
    render_set(RenderRecipe(input=f"{root}/annotations", run=ALONE), f"{root}/captions")
    joined = ShardRecipe(images=[f"{root}/images/*.tar"], captions=f"{root}/captions", samples_per_shard=9, run=ALONE)
    shard(joined, f"{root}/training")
    taken = IngestRecipe(
        source="mint-html",
        input=[f"{root}/web/{DOCUMENTS_FILE}"],
        images=[f"{root}/web/{URL_MAP_FILE}"],
        samples_per_shard=8,
        run=IngestRun(workers=1),
    )
    ingest(taken, f"{root}/documents")
    sources = {"ocr": [f"{root}/training"], "docs": [f"{root}/documents"]}
    shares = MixRecipe(sources=sources, weights={"ocr": 3, "docs": 1}, samples_per_shard=16, run=ALONE)
    mix(shares, f"{root}/mixed")


def test_the_whole_path(made: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for inputs in ("images", "annotations", "web"):
        bucket.store.upload(made / inputs, f"{bucket.url}/{inputs}")
    whole_path(bucket.url)
    clean = bucket.store.hashes(bucket.url)
    assert {name for name in clean if is_data(name)} == {name for name in hashes(made) if is_data(name)}
    assert [name for name, sha256 in clean.items() if is_data(name) and hashes(made)[name] != sha256] == []
    # a small shard is asked for once by whatever reads it through: to take a census, to join it, and for a report
    tars = Counter(request.path for request in bucket.proxy.seen("GET", "/images/"))
    assert set(tars.values()) == {3}, tars

    for name in SETS:
        Folder(bucket.url).clear(name)
    bucket.proxy.restart(one_in_ten)
    monkeypatch.setenv(OPTIONS_VARIABLE, HASTY)
    with watched(bucket, bucket.url) as seen:
        whole_path(bucket.url)
        for name in SETS:
            assert verify(f"{bucket.url}/{name}") == verify(f"{made}/{name}")
            told, here = collect_stats(f"{bucket.url}/{name}"), collect_stats(f"{made}/{name}")
            assert [told[key] for key in ("rows_out", "counts")] == [here[key] for key in ("rows_out", "counts")]
    faults = Counter(request.fault for request in bucket.proxy.requests if request.fault)
    assert set(faults) == set(KINDS), faults
    assert bucket.store.hashes(bucket.url) == clean
    assert {(name, sha256) for name, sha256 in seen if is_data(name)} <= set(clean.items())


def render_command(root: str) -> list[str]:
    return ["render", "ocr", f"{root}/annotations", "--output", f"{root}/captions", "--workers", "1"]


def failed(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[Any, str]:
    """Exit code of the command, and what it prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(arguments)
    return done.value.code, capsys.readouterr().err


def test_refusals(
    made: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of a run's requests is the first of those that are refused, or not answered: what is committed counts."""
    monkeypatch.setenv(OPTIONS_VARIABLE, IMPATIENT)
    bucket.store.upload(made / "annotations", f"{bucket.url}/annotations")
    reasons = {
        "refuse": r"(AccessDenied: No\.|Forbidden)",
        "throttle": r"(SlowDown: Please reduce your request rate\.|Service Unavailable) \(tried \d+ times in \d+ s\)",
    }
    for fault, first in (("refuse", 0), ("refuse", 5), ("refuse", 12), ("throttle", 9), ("refuse", 14)):
        bucket.proxy.restart(lambda number, fault=fault, first=first: fault if number >= first else None)
        code, error = failed(capsys, render_command(bucket.url))
        line = rf"error: cannot (read|write|list|remove) {bucket.url}/(captions|annotations)\S*: {reasons[fault]}\n"
        assert code == 1, error
        assert re.fullmatch(line, without_progress(error)), error
        assert half_written(bucket.store.objects(bucket.url)) == []
    bucket.proxy.restart()
    code, error = failed(capsys, render_command(bucket.url))
    assert code == 0, error
    assert verify(f"{bucket.url}/captions") == (3, [])
    found = bucket.store.hashes(f"{bucket.url}/captions")
    assert {name: found[name] for name in found if is_data(name)} == {
        name: sha256 for name, sha256 in hashes(made / "captions").items() if is_data(name)
    }


def test_wrong_use(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = "error: s3://no-such-bucket: there is no such bucket\n"
    assert failed(capsys, ["verify", "s3://no-such-bucket/out"]) == (2, nowhere)
    images = ["--input", "s3://no-such-bucket/*.tar"]
    assert failed(capsys, ["annotate", "ocr", *images, "--output", f"{bucket.url}/out"]) == (2, nowhere)
    bucket.store.put(f"{bucket.url}/0.tar", b"")
    images = ["--input", f"{bucket.url}/*.tar"]
    assert failed(capsys, ["annotate", "ocr", *images, "--output", "s3://no-such-bucket/out"]) == (2, nowhere)
    lacking = f"error: no file matches {bucket.url}/*.webp\n"
    assert failed(capsys, ["annotate", "ocr", "--input", f"{bucket.url}/*.webp", "--output", "out"]) == (2, lacking)
    lacking = f"error: recipe: cannot read {bucket.url}/recipe.yaml: No such file or directory\n"
    assert failed(capsys, ["annotate", f"{bucket.url}/recipe.yaml"]) == (2, lacking)
    wrong = "error: --storage-option: 'key' is not KEY=VALUE\n"
    assert failed(capsys, ["--storage-option", "key", "verify", bucket.url]) == (2, wrong)


def test_another_run_in_the_same_output(
    made: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have begun when nothing was committed."""
    bucket.store.upload(made / "annotations", f"{bucket.url}/annotations")
    render_set(RenderRecipe(input=f"{bucket.url}/annotations", run=ALONE), f"{bucket.url}/captions")
    before = bucket.store.hashes(bucket.url)
    monkeypatch.setattr(
        "pipelines.output.job.read_manifests",
        lambda output: {} if output.url.endswith("captions") else read_manifests(output),
    )
    code, error = failed(capsys, render_command(bucket.url))
    first = f"{bucket.url}/captions/manifests/00000000.json"
    said = "already exists: another run is writing to this output; wait for it, or stop it and rerun this command"
    assert (code, without_progress(error)) == (1, f"error: {first} {said}\n")
    after = bucket.store.hashes(bucket.url)
    assert after.pop("captions/parts/unfinished"), "it had begun"
    assert after == before


def test_what_is_looked_up(made: Path, bucket: Bucket, tmp_path: Path) -> None:
    """Captions that others have made, captions to put places into, vocabularies, tokenizers and recipes, at a URL."""
    for path in sorted((made / "captions/data").iterdir()):
        bucket.store.put(f"{bucket.url}/plain/{path.name}", path.read_bytes())
    for captions, output in ((f"{made}/captions/data", "disk"), (f"{bucket.url}/plain", "bucket")):
        recipe = ShardRecipe(images=[f"{made}/images/*.tar"], captions=captions, samples_per_shard=9, run=ALONE)
        assert shard(recipe, str(tmp_path / output)).rows_out == 27
    found, wanted = hashes(tmp_path / "bucket"), hashes(tmp_path / "disk")
    assert {name: found[name] for name in found if is_data(name)} == {
        name: wanted[name] for name in wanted if is_data(name)
    }
    pq.write_table(pa.table({"uid": ["a", "b"], "caption": ["one", "two"]}), tmp_path / "kale.parquet")
    bucket.store.put(f"{bucket.url}/kale/0.parquet", (tmp_path / "kale.parquet").read_bytes())
    samples = [Identity("0", f"key of {uid}", None, uid, None) for uid in ("b", "c")]
    bases = BaseCaptionFiles.open(f"{bucket.url}/kale/*.parquet", None).look_up(samples)
    assert {key: bases.get_caption(key) for key in bases.found} == {"key of b": "two"}
    bucket.store.put(f"{bucket.url}/words.txt", b"cat\ndog\n")
    assert read_vocabulary(f"{bucket.url}/words.txt").names == ("cat", "dog")
    bucket.store.put(f"{bucket.url}/recipe.yaml", b"kind: mix\n")
    assert read_recipe(f"{bucket.url}/recipe.yaml") == {"kind": "mix"}
    tiny = REPOSITORY / "recipes/train/tiny/tokenizer.json"
    bucket.store.put(f"{bucket.url}/tiny/tokenizer.json", tiny.read_bytes())
    wanted_tokens = load_token_counter(str(tiny), allow_download=False)
    assert load_token_counter(f"{bucket.url}/tiny/tokenizer.json", False).fingerprint == wanted_tokens.fingerprint
    lacking = rf"tokenizer: cannot read {bucket.url}/tiny/none\.json: No such file or directory; pass a tokenizer\.json"
    with pytest.raises(UsageError, match=lacking):
        load_token_counter(f"{bucket.url}/tiny/none.json", allow_download=False)


def test_base_captions_are_partitioned_in_the_bucket(made: Path, bucket: Bucket, tmp_path: Path) -> None:
    """Captions from the bucket, their partition in it, and the same bytes as on a disk."""
    dog = [Detection("dog", "dog", (0.25, 0.25, 0.75, 0.75), 0.75)]
    annotations = grounding_set(f"{made}/images/*.tar", tmp_path / "boxes", lambda _: dog, lambda _: [])
    uids = [row["uid"] for row in rows(annotations)]
    captions = pa.table({"uid": uids[::-1], "caption": [f"A dog, {uid}" for uid in uids[::-1]]})
    pq.write_table(captions, tmp_path / "kale.parquet", row_group_size=10)
    bucket.store.put(f"{bucket.url}/kale.parquet", (tmp_path / "kale.parquet").read_bytes())
    for folder in (str(tmp_path), bucket.url):
        files = {"caption_from": f"{folder}/kale.parquet"}
        recipe = RenderRecipe(family="grounding", input=str(annotations), run=ALONE, **files)
        assert render_set(recipe, f"{folder}/grounded").rows_out == len(uids) == 36
    wanted = {f"grounded/{name}": digest for name, digest in hashes(tmp_path / "grounded").items() if is_data(name)}
    found = bucket.store.hashes(bucket.url)
    assert {name: found[name] for name in found if is_data(name) and name.startswith("grounded/")} == wanted
    assert not [name for name in found if "/parts/" in name]


def test_a_folder_of_images_is_listed_with_the_options(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables lead to no store here; and the first answers are that it is busy."""
    for name in ("a/1.jpg", "a/b/2.jpg", "set/recipe.yaml", "set/data/3.jpg"):
        bucket.store.put(f"{bucket.url}/images/{name}", name.encode())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(OPTIONS_VARIABLE, json.dumps({"endpoint_url": bucket.proxy.url, "retry_seconds": 60}))
    bucket.proxy.restart(lambda number: "throttle" if number < 2 else None)
    folder = Folder(f"{bucket.url}/images")
    assert list(list_files(folder)) == [("a/1.jpg", 7), ("a/b/2.jpg", 9)]
    assert FolderStore(folder.url).get("a/1.jpg") == b"a/1.jpg"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_options_reach_a_cluster(made: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers were started by others, who know another endpoint."""
    bucket.store.upload(made / "annotations", f"{bucket.url}/annotations")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    script = [sys.executable, "-c", "from pipelines.cli.app import main; main()"]
    options = ["--storage-option", f"endpoint_url={bucket.proxy.url}", "--storage-option", "retry_seconds=5"]
    with cluster_of(cpus=2) as address:
        command = [*script, *options, *render_command(bucket.url), "--workers", "2", "--address", address]
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | NO_TOKEN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, wanted = bucket.store.hashes(f"{bucket.url}/captions"), hashes(made / "captions")
    assert [name for name in wanted if is_data(name) and found[name] != wanted[name]] == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_annotating(made: Path, bucket: Bucket, tmp_path: Path) -> None:
    """A run with faults that is killed, one that the store refuses at some time, and one that finishes."""
    here = Driver(tmp_path / "disk", f"{made}/images/*.tar")
    finished = here.run()
    assert finished.returncode == 0, finished.stderr

    bucket.store.upload(made / "images", f"{bucket.url}/images")
    output = f"{bucket.url}/out"
    bucket.proxy.restart(one_in_ten)
    there = driver_on(bucket, tmp_path / "there", output)
    there.environment |= {"CALL_SECONDS": "0.2", OPTIONS_VARIABLE: HASTY}
    with watched(bucket, output):
        assert there.kill_when(lambda: there.calls() >= 15)
    for name in ("CALL_SECONDS", OPTIONS_VARIABLE):
        del there.environment[name]
    assert {request.fault for request in bucket.proxy.requests} >= {"reset", "throttle"}

    bucket.proxy.restart(lambda number: "refuse" if number >= 30 else None)
    finished = there.run()
    assert finished.returncode == 1
    line = rf"error: cannot (read|write|remove|list) {bucket.url}/\S+: (AccessDenied: No\.|Forbidden)\n"
    assert re.fullmatch(line, without_progress(finished.stderr)), finished.stderr
    assert half_written(bucket.store.objects(output)) == []

    bucket.proxy.restart()
    finished = there.run()
    assert finished.returncode == 0, finished.stderr
    assert verify(output) == (3, [])
    found, wanted = bucket.store.hashes(output), hashes(here.output)
    assert {name for name in found if is_data(name)} == {name for name in wanted if is_data(name)}
    assert [name for name in found if is_data(name) and found[name] != wanted[name]] == []
    tars = Counter(request.path for request in bucket.proxy.seen("GET", "/images/"))
    assert set(tars.values()) == {2}, tars  # each uncommitted shard by one request, and by another for the report


def driver_on(bucket: Bucket, folder: Path, output: str) -> Driver:
    """An annotate command with its input and output in the bucket."""
    driver = Driver(folder, f"{bucket.url}/images/*.tar")
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["output"] = output
    driver.recipe.write_text(yaml.safe_dump(recipe))
    return driver
