"""Names and prose keep to the field's words, and nothing cites what is not there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("schemas", "curation", "pipelines", "training")
SOURCES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "recipes").rglob("*.yaml")),
    *sorted((REPOSITORY / "benchmarks").rglob("*.py")),
]

IRREGULAR = frozenset(
    re.findall(
        r"\w+",
        """
        begun bought bound broken brought built caught chosen cut dealt drawn driven fallen felt forgotten found
        given gone got grown heard held hidden hung kept known laid left lent let lost made meant met paid put
        read resent run said seen sent shown shut sold spent spoilt spoken spread stood taken taught thought told
        torn understood untold won worn written split
        """,
    )
)
IMPERATIVES = {"read", "run", "cut", "split", "put", "spread", "let", "shut", "embed", "found", "bound", "felt"}
"""Words of the list above that are verbs in the imperative as well, and verbs that end as a participle does."""

WORDS = re.compile(
    r"\bsigns? of life\b|\bat a halt\b|\bcrumbs?\b|(?<!out-of-memory )\bkillers?\b|\buntold\b|\bnamesakes?\b"
    r"|\b(?:laid|lay|lays|laying)[ _]over\b|\breckon(?:s|ed|ing)?\b|\bno matter\b|\blearnt\b|\bhanded on\b"
    r"|\bhands? (?:it |them )?on\b|\b(?:of|for) our own\b|\bwhat lies there\b|\bpromises?\b|\bpromised\b"
    r"|\b(?:takes?|took|taken) up\b|\bin silence\b|\bStretch(?:es)?\b|\bLeftOut\b|\bheld_recipe\b|\blacking\b",
    re.IGNORECASE,
)
"""What `writing.md` of this project's reference has in its left column, as far as a word alone can be told by."""


def functions() -> Iterator[tuple[str, str]]:
    """Yields the place and the name of each function that is no property."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
                if "property" not in decorators and "setter" not in decorators:
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", node.name


def test_no_function_is_named_by_a_bare_participle() -> None:
    found = []
    for place, name in functions():
        word = name.strip("_")
        if (word in IRREGULAR or re.fullmatch(r"[a-z]+ed", word)) and word not in IMPERATIVES:
            found.append(f"{place} {name}")
    assert found == []


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_word_of_the_house(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [line for line in lines if WORDS.search(line)] == []


CITED_FILE = re.compile(
    r"`((?:docs|recipes|docker|benchmarks|tests|schemas|curation|pipelines|training)/[\w./-]+\.\w+)`"
)
CITED_NAME = re.compile(r"`((?:schemas|curation|pipelines|training)(?:\.\w+)+)`")
LINK = re.compile(r"\]\(([\w./-]+)\)")


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_is_cited_is_there(path: Path) -> None:
    text = path.read_text()
    missing = [name for name in CITED_FILE.findall(text) if "NAME" not in name and not (REPOSITORY / name).exists()]
    missing += [name for name in LINK.findall(text) if path.suffix == ".md" and not (path.parent / name).exists()]
    missing += [name for name in CITED_NAME.findall(text) if not is_there(name)]
    assert missing == []


def is_there(name: str) -> bool:
    """Returns whether a dotted name is a module or package, or the name of something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = REPOSITORY.joinpath(*parts[:length])
        files = [base.with_suffix(".py"), base / "__init__.py"]
        for file in files:
            if file.exists():
                return all(re.search(rf"\b{part}\b", file.read_text()) for part in parts[length:])
    return False
