"""Dockerfiles, compose and manifests as tests look at them, and the versions that they must agree on."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

DOCKER = REPOSITORY / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
MANIFESTS = sorted((DOCKER / "kuberay").glob("*.yaml"))

INSTRUCTIONS = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "CMD"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments, lines joined. Raises `ValueError` for what is none."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, arguments = line.partition(" ")
        if name not in INSTRUCTIONS or not arguments:
            raise ValueError(f"{path.name}: {line}")
        found.append((name, " ".join(arguments.split())))
    return found


def runs(path: Path) -> list[str]:
    """The commands that a Dockerfile runs."""
    return [arguments for name, arguments in instructions(path) if name == "RUN"]


def examples(path: Path) -> list[list[str]]:
    """The commands in a file's opening comments: lines set off by four spaces, those after a backslash joined."""
    lines = [line[1:] for line in path.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(line for line in lines if line.startswith("     ")).replace("\\\n", " ")
    return [shlex.split(line.partition("  (")[0].strip(), comments=True) for line in text.splitlines()]


def documents(path: Path) -> list[dict[str, Any]]:
    """A manifest's documents."""
    return list(yaml.safe_load_all(path.read_text()))


def clusters() -> Iterator[tuple[str, dict[str, Any]]]:
    """The specification of every RayCluster, with its file's name."""
    for path in MANIFESTS:
        for document in documents(path):
            if document["kind"] == "RayCluster":
                yield path.name, document["spec"]
            if document["kind"] == "RayJob":
                yield path.name, document["spec"]["rayClusterSpec"]


def offered(group: dict[str, Any]) -> dict[str, int]:
    """What the nodes of a group offer beside cores; KubeRay hands it to a shell, in quotes of its own."""
    told: str = group["rayStartParams"].get("resources", "'{}'")
    [once] = shlex.split(told)
    return dict(json.loads(once))


def pins(path: Path) -> dict[str, str]:
    """Versions by normalised names."""
    lines = (line.partition("==") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in lines}
