"""The registry: what is found by name, what is trusted, what is installed, and what is refused in which words."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.registry import Registry, RegistryEntry
from schemas.errors import UsageError

MODULE = __name__


@dataclass(frozen=True)
class Animal:
    name: str


CAT, DOG, OTHER_DOG, NAMELESS = Animal("cat"), Animal("dog"), Animal("dog"), Animal("a:b")
SAME_DOG = DOG
CALLS: list[str] = []


def call_me() -> None:
    CALLS.append("called")


def animals() -> Registry[Animal]:
    return Registry("animal", Animal, "shardloom.animals", lambda: [CAT])


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes an installed distribution of a module and its entry points, as pip would leave it."""

    def make(name: str, code: str, **entries: str) -> None:
        site = tmp_path / name
        details = site / f"{name}-1.0.dist-info"
        details.mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        (details / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {reference}" for entry, reference in entries.items()]
        (details / "entry_points.txt").write_text("\n".join(["[shardloom.animals]", *lines, ""]))
        monkeypatch.syspath_prepend(str(site))

    return make


def declares(name: str) -> str:
    return f"from {MODULE} import Animal\nIT = Animal({name!r})\n"


def test_what_ships_is_found_by_name_and_nothing_else_is_imported() -> None:
    registry = animals()
    assert registry.find("cat") is CAT
    assert registry.list_names() == ["cat"]
    with pytest.raises(UsageError) as error:
        registry.find("cow")
    assert str(error.value) == "no animal is named 'cow': use one of cat"
    with pytest.raises(UsageError) as error:
        registry.find(f"{MODULE}:DOG")
    assert str(error.value) == (
        f"no animal is named '{MODULE}:DOG': pass --trust-code {MODULE}:DOG if you trust that code"
    )


def test_a_trusted_declaration_is_found_by_its_name_and_its_reference() -> None:
    registry, reference = animals(), f"{MODULE}:DOG"
    registry.trust(reference, reference)
    assert registry.find("dog") is registry.find(reference) is DOG
    assert registry.list_names() == ["cat", "dog"]
    assert [registry.find_reference(name) for name in ("dog", reference, "cat", "cow")] == [
        reference,
        reference,
        None,
        None,
    ]
    registry.trust(f"{MODULE}:SAME_DOG")  # another name of the same object
    assert registry.find("dog") is DOG
    assert animals().list_names() == ["cat"], "a registry of its own"


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("no_such_module", "name the code as package.module:Name"),
        (
            "no_such_module:DOG",
            "cannot import no_such_module: ModuleNotFoundError: No module named 'no_such_module'; "
            "it must be in the working folder, on PYTHONPATH or installed",
        ),
        (f"{MODULE}:COW", f"{MODULE} has no COW"),
        (f"{MODULE}:call_me", "it must be of class Animal, not function"),
        (f"{MODULE}:Animal", "it must be of class Animal, not type"),
        (f"{MODULE}:CAT", "the animal cat ships with Shardloom: choose another name"),
        (f"{MODULE}:NAMELESS", "'a:b' is not a valid name: use letters, digits, '.', '-' and '_'"),
        ("os:system", "it must be of class Animal, not builtin_function_or_method"),
    ],
)
def test_what_cannot_be_trusted_is_refused_in_one_line(reference: str, line: str) -> None:
    registry = animals()
    with pytest.raises(UsageError) as error:
        registry.trust(reference)
    assert str(error.value) == f"--trust-code {reference}: {line}"
    assert registry.list_names() == ["cat"]
    assert CALLS == []


def test_two_trusted_declarations_have_two_names() -> None:
    registry = animals()
    with pytest.raises(UsageError) as error:
        registry.trust(f"{MODULE}:DOG", f"{MODULE}:OTHER_DOG")
    assert str(error.value) == (
        f"--trust-code {MODULE}:OTHER_DOG: {MODULE}:DOG has the name dog as well: choose another name"
    )


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising_animal.py").write_text("import not_there_at_all\n")
    (tmp_path / "wrong_animal.py").write_text("raise ValueError('two\\nlines')\n")
    monkeypatch.chdir(tmp_path)
    for module, why in {
        "raising_animal": "ModuleNotFoundError: No module named 'not_there_at_all'",
        "wrong_animal": "ValueError: two lines",
    }.items():
        with pytest.raises(UsageError) as error:
            animals().trust(f"{module}:IT")
        assert str(error.value) == f"--trust-code {module}:IT: cannot import {module}: {why}"


def test_the_working_folder_is_looked_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder_animal.py").write_text(declares("hen"))
    (tmp_path / "json.py").write_text("raise AssertionError('not the installed one')\n")
    monkeypatch.chdir(tmp_path)
    registry = animals()
    registry.trust("folder_animal:IT")
    assert registry.find("hen") == Animal("hen")
    assert sys.path[-1] == str(tmp_path)


def test_installed_declarations_are_loaded_when_they_are_asked_for(install: Callable[..., None]) -> None:
    install("animal_cow", declares("cow"), cow="animal_cow:IT")
    install("animal_broken", "raise ValueError('no')\n", pig="animal_broken:IT", rat="animal_broken:IT")
    registry = animals()
    assert registry.list_names() == ["cat", "cow", "pig", "rat"]
    assert "animal_cow" not in sys.modules
    assert registry.find("cow") == Animal("cow")
    assert registry.find_reference("cow") is None, "other processes have it installed"
    with pytest.raises(UsageError) as error:
        registry.find("pig")
    line = "cannot load animal_broken:IT: ValueError: no"
    assert str(error.value) == f"animal pig of animal_broken 1.0: {line}"
    assert registry.list_entries() == [
        RegistryEntry("cat", None, CAT),
        RegistryEntry("cow", "animal_cow 1.0", Animal("cow")),
        RegistryEntry("pig", "animal_broken 1.0", None, f"animal pig of animal_broken 1.0: {line}"),
        RegistryEntry("rat", "animal_broken 1.0", None, f"animal rat of animal_broken 1.0: {line}"),
    ]


def test_nothing_is_installed_in_the_working_folder(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a data set's, and be on the path all the same."""
    install("animal_wolf", declares("wolf"), wolf="animal_wolf:IT")
    assert animals().list_names() == ["cat", "wolf"]
    monkeypatch.chdir(tmp_path / "animal_wolf")
    assert animals().list_names() == ["cat"]


def test_installed_names_that_clash(install: Callable[..., None]) -> None:
    install("animal_one", declares("cat"), cat="animal_one:IT", emu="animal_one:IT")
    install("animal_two", declares("emu"), emu="animal_two:IT", yak="animal_two:IT", dog="animal_two:IT")
    registry = animals()
    registry.trust(f"{MODULE}:DOG")
    assert (registry.find("cat"), registry.find("dog")) == (CAT, DOG)
    faults = {one.name: one.error for one in registry.list_entries() if one.declaration is None}
    used = "another animal has this name and is used"
    assert faults.pop("emu") in {
        "animal emu of animal_one 1.0 and animal_two 1.0: uninstall all but one of them",
        "animal emu of animal_two 1.0 and animal_one 1.0: uninstall all but one of them",
    }
    assert faults == {
        "cat": used,
        "dog": used,
        "yak": "animal yak of animal_two 1.0: animal_two:IT declares the name 'emu'",
    }
