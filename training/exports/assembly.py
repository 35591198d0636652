"""Assembles one file of Python from the definitions that it needs, taken from the source of this project.

An export for transformers runs where this project is not installed. So its code is one file: the definitions of a
module, and before them all that these need from other modules of the project, found by name and copied as they are
written. Imports of other packages go to the top. Annotations are not evaluated there: of what only they name, imports
and names of types are copied, but no class.
"""

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

_PACKAGES = ("schemas", "curation", "training")

Reference = tuple[str, str]
"""A module and the name of a definition in it."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Holds a top-level definition: its source, with the comments and the text that belong to it, and its place."""

    source: str
    line: int
    uses: frozenset[str]  # names that it needs when it is run
    hints: frozenset[str]  # names in annotations
    is_value: bool  # an assignment, such as that of a type's name, rather than a class or a function


@dataclass(frozen=True, slots=True)
class SourceModule:
    """Holds what a module defines and what it imports, by name."""

    definitions: Mapping[str, Definition]
    project: Mapping[str, Reference]  # imported from this project
    others: Mapping[str, tuple[str, str]]  # imported from other packages: the module, '' for all of it, and the name


@dataclass(slots=True)
class _Selection:
    """Collects what a file needs."""

    names: dict[str, set[str]] = field(default_factory=dict)  # definitions by module
    modules: dict[str, set[str]] = field(default_factory=dict)  # the modules that each one needs
    imports: set[tuple[str, str]] = field(default_factory=set)


def assemble_source(
    module: str, extra: Iterable[Reference] = (), files: Mapping[str, str] | None = None, header: str = ""
) -> str:
    """Returns the source of `module` with all that it and `extra` need, of which nothing imports this project.

    Modules in `files` are files of their own beside this one, which are imported by these names. Raises `ValueError`
    when two modules define the same name, or a name is imported under another.
    """
    siblings = files or {}
    selection = _Selection()
    wanted = [*extra, *((module, name) for name in read_module(module).definitions)]
    while wanted:
        wanted += _select(*wanted.pop(), selection, siblings)
    _check_names(selection)
    parts = [header.rstrip(), "from __future__ import annotations", _write_imports(selection.imports)]
    for name in TopologicalSorter(selection.modules).static_order():
        if name not in selection.names:
            continue
        definitions = read_module(name).definitions
        chosen = sorted((definitions[one] for one in selection.names[name]), key=lambda one: one.line)
        parts += [f"# From {name.replace('.', '/')}.py", *dict.fromkeys(one.source for one in chosen)]
    return "\n\n\n".join(filter(None, parts)) + "\n"


@cache
def read_module(name: str) -> SourceModule:
    """Reads a module's source; it is not run."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    text = Path(spec.origin).read_text("utf-8")
    lines = text.splitlines()
    body = ast.parse(text).body
    definitions: dict[str, Definition] = {}
    project: dict[str, Reference] = {}
    others: dict[str, tuple[str, str]] = {}
    for number, node in enumerate(body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _read_import(node, project, others)
        elif names := list(_list_names(node)):
            follower = body[number + 1] if number + 1 < len(body) else node
            end = (follower if _is_text(follower) else node).end_lineno
            start = _find_start(node, lines)
            is_value = isinstance(node, ast.Assign | ast.AnnAssign)
            uses, hints = (frozenset(_find_names(node, in_hints)) for in_hints in (False, True))
            definition = Definition("\n".join(lines[start:end]), start, uses, hints, is_value)
            definitions |= dict.fromkeys(names, definition)
    return SourceModule(definitions, project, others)


def _select(module: str, name: str, selection: _Selection, files: Mapping[str, str]) -> list[Reference]:
    """Adds a definition, and returns those of this project that it needs."""
    found = selection.names.setdefault(module, set())
    if name in found:
        return []
    found.add(name)
    source = read_module(module)
    before = selection.modules.setdefault(module, set())
    definition = source.definitions[name]
    needed: list[Reference] = []
    for used in definition.uses | definition.hints:
        if used in source.others:
            selection.imports.add(source.others[used])
            continue
        origin, original = (module, used) if used in source.definitions else source.project.get(used, ("", ""))
        if not origin or (used not in definition.uses and not _is_type_name(origin, original)):
            continue
        if original != used:
            raise ValueError(f"{module} imports {original} as {used}; import it by its own name")
        if origin in files and origin != module:
            selection.imports.add((f".{files[origin]}", used))
        else:
            before |= {origin} - {module}
            needed.append((origin, used))
    return needed


def _is_type_name(module: str, name: str) -> bool:
    return name in (found := read_module(module).definitions) and found[name].is_value


def _check_names(selection: _Selection) -> None:
    owners: dict[str, str] = {}
    for module, names in selection.names.items():
        for name in names:
            if owners.setdefault(name, module) != module:
                raise ValueError(f"{module} and {owners[name]} both define {name}; rename one")


def _write_imports(imports: Iterable[tuple[str, str]]) -> str:
    """Writes the statements, a module's names together: whole modules first, this folder's last."""
    plain = sorted(f"import {name}" for module, name in imports if not module)
    modules = sorted({module for module, _ in imports if module}, key=lambda one: (one.startswith("."), one))
    lines = [
        f"from {one} import {', '.join(sorted(name for module, name in imports if module == one))}" for one in modules
    ]
    return "\n".join([*plain, *lines])


def _read_import(
    node: ast.Import | ast.ImportFrom, project: dict[str, Reference], others: dict[str, tuple[str, str]]
) -> None:
    for alias in node.names:
        name, renamed = alias.asname or alias.name, f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            others[name.partition(".")[0]] = ("", f"{alias.name}{renamed}")
        elif node.module is not None and node.module.partition(".")[0] in _PACKAGES:
            project[name] = (node.module, alias.name)
        else:
            others[name] = (str(node.module), f"{alias.name}{renamed}")


def _list_names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _is_text(node: ast.stmt) -> bool:
    """Returns whether this is a string by itself, which describes the definition before it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _find_start(node: ast.stmt, lines: Sequence[str]) -> int:
    """Returns the index of a definition's first line: that of its first decorator, or of the comment before it."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    start = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return start


def _find_names(node: ast.AST, in_hints: bool, is_hint: bool = False) -> Iterator[str]:
    """Yields the names that a definition reads: those of its annotations, or those that it needs when it is run."""
    for name, value in ast.iter_fields(node):
        within = is_hint or name in ("annotation", "returns")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Name) and within == in_hints:
                yield child.id
            elif isinstance(child, ast.AST):
                yield from _find_names(child, in_hints, within)
