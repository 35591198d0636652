"""The command line as a user meets it: exit codes, one line for an error, help with examples, JSON for scripts."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from curation.sources import SOURCES
from pipelines.cli.app import main
from pipelines.cli.commands import COMMANDS
from pipelines.recipes.render import RenderRecipe
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import without_progress
from tests.pipelines.support.sets import annotation_set, caption_set, in_process, opened, shardloom, small_disk


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, annotations and captions."""
    folder = tmp_path_factory.mktemp("cli")
    images = make_shards(folder / "images", shards=1, samples=6)
    caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    (folder / "empty").mkdir()
    (folder / "list.yaml").write_text("- input")
    (folder / "ocr.yaml").write_text("input: x\nengines: {ocr: {engine: rapidocr}}")
    (folder / "broken.yaml").write_text("input: [")
    (folder / "unknown.yaml").write_text("input: x\nchunk: {sampels: 4}\nengines: {ocr: {engine: rapidocr}}")
    (folder / "shard.yaml").write_text("kind: shard")
    return folder


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit code, output and errors of the command, in this process; any other exception than the exit is a fault."""
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code, *capsys.readouterr()


ANNOTATE = "annotate ocr --input {i}/*.tar"
WRONG_USE = {
    "annotate ocr --input {n}/*.tar -o {out}": r"no file matches {n}/\*\.tar",
    "annotate ocr --input {made}/*.yaml -o {out}": r"{made}/broken\.yaml is not a \.tar file: the glob should .*",
    "annotate ocr --input nowhere://x -o {out}": "nowhere://x: Protocol not known: nowhere",
    "annotate": "missing: input and engines; for example: shardloom annotate ocr,tags,boxes --input .*",
    "annotate ocr -o {out}": "missing: input; for example: shardloom annotate ocr,tags,boxes --input .*",
    "annotate text --input {i}/*.tar -o {out}": "'text' is no engine: use ocr, tags, boxes or captions, or several, .*",
    "annotate ocr,tgs --input {i}/*.tar -o {out}": r"'tgs' is no engine: did you mean tags\?",
    "annotate siglip --input {i}/*.tar -o {out}": r"'siglip' is no engine: did you mean tags:siglip\?",
    "annotate {i}/00000000.tar -o {out}": r"'{i}/00000000\.tar' is no engine: .*; images by --input, .*",
    "annotate {a} -o {out}": "'{a}' is no engine: .* shardloom annotate {a} --add ENGINES",
    "annotate boxes --input {i}/*.tar -o {out}": "recipe: engines: boxes need tags: annotate tags,boxes",
    "annotate ocr:paddle --input {i}/*.tar -o {out}": r"engines\.ocr: no engine is named 'paddle': use one of .*",
    "annotate ocr:paddleocr --input {i}/*.tar -o {out}": "paddleocr: no weights; pass --weights ocr=FOLDER with .*",
    "annotate tags,boxes --input {i}/*.tar -o {out}": r"engines\.boxes: the demonstration weights know 76 things, .*",
    "annotate tags,boxes --weights {n} -o {out}": "--weights {n}: name their engine, for example boxes={n}",
    "annotate tags,boxes --weights boxes={n} -i {i}/*.tar -o {out}": "grounding_dino: no folder {n}; pass .*",
    "annotate tags:siglip --weights tags={n} -i {i}/*.tar -o {out}": ".*siglip.*: no folder {n}; pass .*",
    "annotate tags:ram --weights tags={n} -i {i}/*.tar -o {out}": "ram: pass vocabulary=FILE with the tags of .*",
    "annotate captions -i {i}/*.tar -o {out}": "captions have no engine by default: name one of endpoint, .*",
    "annotate captions:endpoint -i {i}/*.tar -o {out}": "endpoint: no model: set model in the engine's settings, .*",
    "annotate tags --vocabulary {n} --input {i}/*.tar -o {out}": ".*{n}.*",
    "annotate --add boxes -o {out}": "--add: name the annotation set, for example: shardloom annotate SET --add .*",
    "annotate {n} --add boxes -o {out}": r"{n} is not an output set: it has no recipe\.yaml",
    "annotate {c} --add boxes -o {out}": "recipe of that set is not of the kind 'annotate'",
    "annotate {a} --add text -o {out}": "'text' is no engine: use ocr, tags, boxes or captions, .*",
    "annotate {a} --add boxes -r {made}/ocr.yaml -o {out}": "--add uses the set's own recipe: leave out --recipe",
    "annotate {made}/ocr.yaml -r x.yaml -o {out}": r"{made}/ocr\.yaml and --recipe x\.yaml: pass one recipe",
    "annotate boxes -r {made}/ocr.yaml -o {out}": r"recipe {made}/ocr\.yaml: engines: boxes need tags: .*",
    "annotate -r {made}/ocr.yaml --weights boxes=x -o {out}": "--weights boxes=x: boxes is not among the engines",
    "annotate ocr --vocabulary x -i x -o {out}": "--vocabulary: tags is not among the engines",
    "annotate tags --allow-download -i x -o {out}": "--allow-download: pass --weights ENGINE=NAME with it",
    "annotate {made}/unknown.yaml -o {out}": r"recipe {made}/unknown\.yaml: unknown key chunk\.sampels",
    "annotate {made}/broken.yaml -o {out}": r"recipe {made}/broken\.yaml is not valid YAML: while parsing .*",
    "annotate {made}/list.yaml -o {out}": r"recipe {made}/list\.yaml is not a mapping",
    "annotate {made}/shard.yaml -o {out}": r"recipe {made}/shard\.yaml is not of the kind 'annotate'",
    "annotate {n}.yaml -o {out}": r"cannot read recipe {n}\.yaml: No such file or directory",
    ANNOTATE: "no output folder: pass --output, or set run.output in the recipe",
    ANNOTATE + " -o {a}": r"{a} holds another recipe \(engines.ocr.engine is .*",
    ANNOTATE + " -o {i}/00000000.tar": r"{i}/00000000\.tar: {i}/00000000\.tar is not a folder: use another output .*",
    ANNOTATE + " -o {i}/00000000.tar/x": r"{i}/00000000\.tar/x: {i}/00000000\.tar is not a folder: use another .*",
    "ingest datacomp -i {i}/*.tar --images {n}.json -o {out}": r"images: cannot read {n}\.json: No such file or .*",
    "ingest datacomp -i {i}/*.tar --images {n} -o {out}": "no file matches {n}",
    "generate {n} Hi": "model: no folder {n}; pass a folder that train has exported, such as run/model",
    "generate {made} Hi --image {n}": "--image {n}: no such file; pass an image's file or URL",
    "generate {made} Hi --beams 3 --temperature 1": "--beams: a beam search takes the likeliest tokens and draws .*",
    "engines --fetch clip": "no weights are named 'clip': use grounding-dino or siglip, .*",
    "engines -o x": "--output: it is where --fetch puts weights: pass --fetch NAME with it",
    ANNOTATE + " -o {made}": r"{made} is not empty and holds no recipe\.yaml: use a new output folder",
    ANNOTATE + " --chunk 0 -o {out}": r"recipe: chunk\.samples: input should be greater than 0, not 0",
    ANNOTATE + " --chunk x -o {out}": r"Invalid value for '--chunk': .* \(see --help\)",
    ANNOTATE + " --speed 9 -o {out}": r"No such option: --speed.* \(see --help\)",
    "render": r"Missing argument '.*'\. \(see --help\)",
    "render tags {a} -o {out}": "no family of captions is named 'tags': use one of ocr, .*",
    "render ocr -o {out}": "missing: input; for example: shardloom render ocr annotations --output .*",
    "render ocr {n} -o {out}": r"{n} is not an output set: it has no recipe\.yaml",
    "render ocr {i} -o {out}": r"{i} is not an output set: it has no recipe\.yaml",
    "render ocr {c} -o {out}": "{c} is not an annotation set: its kind is 'render'",
    "render ocr {a} -o {out} --granularity 6": r"recipe: granularities\.0: input should be less .* 5, not 6",
    "render ocr {a} -o {out} --raw-caption no": "recipe: raw_caption: input should be 'with', 'without' .*",
    "render ocr {a} -o {out} --min-confidence 2": "recipe: min_confidence: .*, not 2.0",
    "render ocr {a} --preview x": "{a} has no annotation with the key or uid 'x'",
    "render ocr {a} -o {a}": "{a} is an annotate set, not a render set: use a new output folder",
    "shard --images {i}/*.tar --captions {n} -o {out}": r"{n} holds no captions \(\*\.parquet\)",
    "shard --images {i}/*.tar --captions {a} -o {out}": "{a} is not a caption set: .*",
    "shard --images {n} --captions {c} -o {out}": "no file matches {n}",
    "shard --images {i}/*.tar -o {out}": "missing: captions; for example: shardloom shard --images .*",
    "shard --captions {c} -o {out} --format zip --images x": "recipe: format: input should be 'webdataset' .*",
    "verify {made}/empty": r"{made}/empty is not an output set: it has no recipe\.yaml",
    "verify": r"Missing argument '.*'\. \(see --help\)",
    "stats {n}": r"{n} is not an output set: it has no recipe\.yaml",
    "nonsense": r"No such command 'nonsense'\. \(see --help\)",
}


@pytest.mark.parametrize("command", WRONG_USE)
def test_wrong_use_is_one_line_and_2(
    made: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"made": str(made), "out": str(tmp_path / "out"), "i": f"{made}/images", "a": f"{made}/annotations"}
    names |= {"c": f"{made}/captions", "n": f"{made}/none"}
    code, out, err = run(*(word.format_map(names) for word in command.split()), capsys=capsys)
    line = re.sub(r"\{(\w+)\}", lambda name: re.escape(names[name[1]]), WRONG_USE[command])
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {line}\n", err), err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_run_writes_to(made: Path, tmp_path: Path) -> None:
    """In a process of its own, and while the other has written no more than its recipe."""
    recipe = RenderRecipe(input=f"{made}/annotations")
    with opened(Folder(str(tmp_path)), recipe):
        done = shardloom("render", "ocr", f"{made}/annotations", "-o", tmp_path)
    line = (
        f"error: test (process {os.getpid()} on {socket.gethostname()}) is writing to {tmp_path}: "
        "wait for it, stop it, or use another output folder\n"
    )
    assert (done.returncode, done.stderr) == (2, line)
    assert in_process("render", "ocr", f"{made}/annotations", "-o", tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["annotate ocr -i {made}/images/*.tar", "render ocr {made}/annotations"])
def test_a_read_only_disk_is_one_line_and_1(
    made: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.format(made=made) for word in command.split()]
    with small_disk(tmp_path / "disk", 256 << 10, read_only=True) as disk:
        code, out, err = run(*arguments, "-o", f"{disk}/out", "--workers", "1", capsys=capsys)
        assert (code, out, err) == (1, "", f"error: cannot create {disk}/out: Read-only file system\n")
        code, out, err = run(*arguments, "-o", str(disk), "--workers", "1", capsys=capsys)
        assert (code, out, err) == (1, "", f"error: cannot write {disk}/recipe.yaml: Read-only file system\n")


def test_a_finished_command_says_that_it_did_nothing(made: Path, tmp_path: Path) -> None:
    command = ("render", "ocr", f"{made}/annotations", "-o", tmp_path / "c", "--workers", "1")
    first, again = (in_process(*command) for _ in range(2))
    line = f"{tmp_path}/c: 6 rows in, 4 out, 2 quarantined (2 too_few_lines)"
    assert first.stdout == f"{line}\n"
    assert again.stdout == f"{line}; nothing was done, because all of it was there already\n"
    assert (again.returncode, again.stderr) == (0, "")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", capsys=capsys) == (0, f"shardloom {version('shardloom')}\n", "")


def test_h_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["render"], ["train"]):
        assert run(*command, "-h", capsys=capsys) == run(*command, "--help", capsys=capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = run(command, "--help", capsys=capsys)
    assert (code, err) == (0, "")
    if command != "recipe":  # which has commands of its own
        assert f"Example: shardloom {command}" in out
    assert " ".join(COMMANDS[command].summary.split()) in " ".join(out.split()), "as in the list of all commands"
    if command == "ingest":
        assert all(source in out for source in SOURCES.shipped)


def test_the_trainer_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("train", "absent.yaml", capsys=capsys)
    assert (code, out, err) == (2, "", "error: cannot read recipe absent.yaml: No such file or directory\n")


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys=capsys)
    assert code == 2
    assert all(f" {command} " in out for command in COMMANDS)


def test_json_is_for_scripts(made: Path, tmp_path: Path) -> None:
    """What is printed to the standard output is one JSON value and nothing else."""
    rendered = shardloom("render", "ocr", f"{made}/annotations", "-o", tmp_path / "c", "--json", "--workers", "1")
    expected = {"outputs": 1, "rows_in": 6, "rows_out": 4, "quarantined": 2, "reasons": {"too_few_lines": 2}}
    assert json.loads(rendered.stdout) == expected | {"counts": {"captions": 48}, "damaged": {}}
    joined = in_process(
        *("shard", "--images", f"{made}/images/*.tar", "--captions", tmp_path / "c", "-o", tmp_path / "t"),
        *("--samples-per-shard", "3", "--json", "--workers", "1"),
    )
    found = json.loads(joined.stdout)
    assert (found["outputs"], found["rows_in"], found["rows_out"], found["reasons"]) == (2, 6, 4, {"no_caption": 2})
    checked = in_process("verify", tmp_path / "t", "--json")
    assert json.loads(checked.stdout) == {"outputs": 2, "faults": []}
    (tmp_path / "t/data/00000001.tar").unlink()
    checked = in_process("verify", tmp_path / "t", "--json")
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["faults"] == [f"{tmp_path}/t/data/00000001.tar: is missing"]
    told = json.loads(in_process("stats", tmp_path / "t", "--json").stdout)
    assert (told["kind"], told["rows_in"], told["times"]["runs"]) == ("shard", 6, 1)
    for done in (rendered, joined):
        assert (done.returncode, without_progress(done.stderr)) == (0, "")


def test_what_is_said_when_all_went_well(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = str(made / "annotations")
    assert run("verify", annotations, capsys=capsys) == (
        *(0, f"{annotations}: outputs as they were committed: 1 of 1\n", ""),
    )
    code, out, err = run("stats", str(made / "captions"), capsys=capsys)
    assert (code, err) == (0, "")
    lines = [" ".join(text.split()) for text in out.splitlines()]
    head = ["outputs 1", "rows in 6", "rows out 4", "quarantined 2", "too_few_lines 2", "captions 48"]
    assert lines[:-1] == head
    assert re.fullmatch(r"seconds \d+\.\d in 1 runs", lines[-1])


def test_commands_start_fast() -> None:
    """Neither Ray nor polars nor torch is imported for verify or stats, or to refuse a wrong recipe; less for help."""
    heavy = ["ray", "polars", "onnxruntime", "rapidocr", "torch", "cv2", "datasets"]
    modules = "pipelines.verify.run, pipelines.stats.run, pipelines.render.run, pipelines.shard.run, training.recipe"
    for imported, absent in (
        (f"pipelines.cli.app, {modules}", heavy),
        ("pipelines.cli.app", [*heavy, "pydantic", "pyarrow", "fsspec"]),
    ):
        script = f"import {imported}, sys; print(sorted(set({absent}) & sys.modules.keys()))"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"
