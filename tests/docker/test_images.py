"""Images are built from the pins that were tested, run as nobody in particular, and say commands that exist."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from ray.scripts.scripts import cli as ray
from typer.main import get_command

from pipelines.cli.app import app
from pipelines.engines.listing import ENVIRONMENTS
from tests.conftest import REPOSITORY
from tests.docker.support.files import DOCKER, DOCKERFILES, MANIFESTS, documents, examples, instructions, pins, runs

OURS = pins(REPOSITORY / "constraints.txt")
[TESTED] = re.findall(r"on Python (\S+)\.", (REPOSITORY / "constraints.txt").read_text())
OTHERS = {  # what an environment has of its own because its engine needs it so
    "paddleocr": {"numpy", "pyyaml"},
    "paddleocr-gpu": {"numpy", "pyyaml"},
    "onnxruntime-gpu": set(),
    "groundingdino-py": {"transformers", "tokenizers", "huggingface-hub"},
}
OF_WORKERS = {"ray", "pyarrow", "pydantic", "pillow", "fsspec", "s3fs", "pandas"}  # what every worker of ours loads


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_stages_and_user(path: Path) -> None:
    steps = instructions(path)
    assert [name for name, _ in steps].count("FROM") == 2, "what builds stays behind"
    assert [arguments for name, arguments in steps if name == "USER"][-1] == "1000"
    last = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    assert not any("pip install" in arguments for _, arguments in steps[last:])
    assert any(name == "COPY" and arguments.startswith("--from=build ") for name, arguments in steps[last:])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_only_pinned_packages_are_installed(path: Path) -> None:
    installs = [run for run in runs(path) if "pip install" in run]
    builds = [run for run in runs(path) if "engines --build" in run]
    assert all("--constraint constraints.txt '.[all]'" in run for run in installs)
    for base in (
        text.partition("FROM ")[2] for text in path.read_text().splitlines() if text.startswith("FROM python")
    ):
        assert base.startswith("python:${PYTHON}-slim-"), base
    assert len(installs) + len(builds) == 1
    arguments = dict(line.split("=", 1) for name, line in instructions(path) if name == "ARG")
    assert arguments.get("PYTHON", TESTED) == TESTED
    for run in builds:
        name = run.split()[-1]
        assert arguments.get("ENVIRONMENT", name) in ENVIRONMENTS
        assert name in ("${ENVIRONMENT}", *ENVIRONMENTS)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_steps_are_shell_and_sources_are_there(path: Path) -> None:
    for run in runs(path):
        assert subprocess.run(["bash", "-n", "-c", run]).returncode == 0, run
    told = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, arguments in instructions(path):
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (REPOSITORY / source).exists(), source
                assert source in told, f".dockerignore keeps {source} out"


def test_environments_have_our_versions_but_for_what_their_engines_pin() -> None:
    for name, others in OTHERS.items():
        held = pins(REPOSITORY / "pipelines" / "environments" / f"{name}.txt")
        differing = {package for package, version in held.items() if OURS.get(package, version) != version}
        assert differing == others, name
        assert set(held) >= OF_WORKERS, name


def test_paddleocr_is_the_same_on_gpus() -> None:
    folder = REPOSITORY / "pipelines" / "environments"
    on_gpus, on_cpus = pins(folder / "paddleocr-gpu.txt"), pins(folder / "paddleocr.txt")
    added = {"paddlepaddle-gpu", "httpcore", "httpx", "networkx", "opt-einsum", "safetensors"}
    assert {name: version for name, version in on_gpus.items() if name not in added} == on_cpus
    assert on_gpus["paddlepaddle-gpu"] == "3.3.1"
    assert set(on_gpus) - set(on_cpus) == added


def test_bases_are_built_by_commands_that_are_told() -> None:
    """Every image that anything names is tagged in a Dockerfile's opening comment."""
    tagged = {
        command[command.index("--tag") + 1]
        for path in DOCKERFILES
        for command in examples(path)
        if command[:2] == ["docker", "build"]
    }
    named = set(re.findall(r"\bshardloom:[\w-]+", "".join(path.read_text() for path in DOCKER.rglob("*.*"))))
    assert named == tagged
    for path in DOCKERFILES:
        for command in examples(path):
            assert command[command.index("--file") + 1] == f"docker/{path.name}"


def test_commands_exist() -> None:
    """Of all that is run in containers, or that a comment tells to run."""
    commands = get_command(app).commands  # type: ignore[attr-defined]  # typed as any command
    compose = documents(DOCKER / "compose.yaml")[0]
    services = compose["services"].values()
    inside = [service["command"] for service in services]
    inside += [service["healthcheck"]["test"][1:] for service in services if "healthcheck" in service]
    inside += [json.loads(words) for path in DOCKERFILES for name, words in instructions(path) if name == "CMD"]
    jobs = [each["spec"] for path in MANIFESTS for each in documents(path) if each["kind"] == "RayJob"]
    inside += [job["entrypoint"].split() for job in jobs]
    assert {words[0] for words in inside} <= {"ray", "shardloom", "python"}
    told = inside + [command for path in DOCKER.rglob("*.*") for command in examples(path)]
    told += [run.split() for path in DOCKERFILES for run in runs(path)]
    seen = set()
    for words in told:
        for place, word in enumerate(words):
            if word == "ray" and place + 1 < len(words):
                assert words[place + 1] in ray.commands, words
            if word == "shardloom" and place + 1 < len(words) and words[place - 1] != "secret":
                if words[place + 1] == "--help":
                    continue
                assert words[place + 1] in commands, words
                seen.add(words[place + 1])
                known = {flag for option in commands[words[place + 1]].load().params for flag in option.opts}
                flags = {flag.partition("=")[0] for flag in words[place + 2 :] if flag.startswith("--")}
                assert flags <= known, words
            if word.startswith("pipelines."):
                assert (REPOSITORY / word.replace(".", "/") / "__main__.py").is_file(), word
    assert {"annotate", "engines"} <= seen
