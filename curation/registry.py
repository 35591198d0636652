"""Registers what users may add to the program by declaring it: engines, data set sources, caption families.

Declarations come from three places: those that ship, those of installed entry points, and those that the user trusts by
`--trust-code package.module:Name`. A name in a recipe or a data set is only looked up among them. Nothing is imported
but an installed entry point's own reference and what the user has typed.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from schemas.errors import UsageError, to_one_line
from schemas.output_set.recipe_file import MAX_SHOWN, format_value

TRUST_CODE = "--trust-code"

_NAME = re.compile(r"[\w.-]+")  # no colon, which marks a reference; no comma, which separates names on a command line
_MAX_ERROR_CHARACTERS = 200  # characters shown of a plug-in's exception


class Declaration(Protocol):
    """Describes what can be registered: any object with a name."""

    @property
    def name(self) -> str:
        """Returns the name by which recipes refer to it."""
        ...


D = TypeVar("D", bound=Declaration)


@dataclass(frozen=True)
class RegistryEntry(Generic[D]):
    """Describes one entry of a registry's list."""

    name: str
    origin: str | None  # the distribution or the trusted reference that it comes from; None if it ships
    declaration: D | None
    error: str | None = None  # why there is no declaration


class Registry(Generic[D]):
    """Holds all declarations of one class, by name."""

    def __init__(self, noun: str, declaration: type[D], group: str, find_shipped: Callable[[], Iterable[D]]) -> None:
        """Makes a registry of `noun`, a noun for error messages. `group` is the group of its entry points.

        `find_shipped` is called at the first look-up.
        """
        self.noun, self.group = noun, group
        self._class, self._find_shipped = declaration, find_shipped
        self._trusted: dict[str, D] = {}  # by reference
        self._loaded: dict[str, D] = {}  # of entry points, by name

    @cached_property
    def shipped(self) -> Mapping[str, D]:
        """Returns the declarations that ship, by name."""
        return {declaration.name: declaration for declaration in self._find_shipped()}

    def list_names(self) -> list[str]:
        """Returns every name that can be looked up, those that ship first. Imports no plug-in."""
        trusted = [declaration.name for declaration in self._trusted.values()]
        return list(dict.fromkeys([*self.shipped, *trusted, *self._find_entry_points()]))

    def find(self, name: str) -> D:
        """Returns the declaration with this name or trusted reference. Raises `UsageError` if unknown or broken."""
        if name in self.shipped:
            return self.shipped[name]
        for reference, declaration in self._trusted.items():
            if name in (reference, declaration.name):
                return declaration
        if found := self._find_entry_points().get(name):
            return self._load(name, found)
        shown = format_value(name)
        if ":" in name:
            what = name if len(name) <= MAX_SHOWN else "it"
            raise UsageError(f"no {self.noun} is named {shown}: pass {TRUST_CODE} {what} if you trust that code")
        raise UsageError(f"no {self.noun} is named {shown}: use one of {', '.join(self.list_names())}")

    def trust(self, *references: str) -> None:
        """Imports and registers what the user has named as `package.module:Name`. Raises `UsageError`.

        It is then found by its name and by its reference. Trusting a reference again does nothing.
        """
        for reference in references:
            if reference not in self._trusted:
                self._trusted[reference] = self._import(reference)

    def find_reference(self, name: str) -> str | None:
        """Returns the reference that another process must trust to find this name, or None if it needs none."""
        for reference, declaration in self._trusted.items():
            if name in (reference, declaration.name) and name not in self.shipped:
                return reference
        return None

    def list_entries(self) -> list[RegistryEntry[D]]:
        """Returns everything that is registered. Loads all entry points; a broken one is listed with its fault."""
        listed = [RegistryEntry(name, None, declaration) for name, declaration in self.shipped.items()]
        for reference, declaration in self._trusted.items():
            listed.append(RegistryEntry(declaration.name, f"{TRUST_CODE} {reference}", declaration))
        trusted = {declaration.name for declaration in self._trusted.values()}
        for name, found in self._find_entry_points().items():
            origin = " and ".join(map(_format_distribution, found))
            if name in self.shipped or name in trusted:
                listed.append(RegistryEntry(name, origin, None, f"another {self.noun} has this name and is used"))
                continue
            try:
                listed.append(RegistryEntry(name, origin, self._load(name, found)))
            except UsageError as error:
                listed.append(RegistryEntry(name, origin, None, str(error)))
        return listed

    def _import(self, reference: str) -> D:
        where = f"{TRUST_CODE} {reference}"
        module, _, attribute = reference.partition(":")
        if not module or not attribute:
            raise UsageError(f"{where}: name the code as package.module:Name")
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.append(folder)  # last, so that no file there hides an installed module
        try:
            home = importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  a module may raise anything
            hint = ""
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                hint = "; it must be in the working folder, on PYTHONPATH or installed"
            raise UsageError(
                f"{where}: cannot import {module}: {to_one_line(error, _MAX_ERROR_CHARACTERS, with_type=True)}{hint}"
            ) from None
        if not hasattr(home, attribute):
            raise UsageError(f"{where}: {module} has no {attribute}")
        declaration = self._check_declaration(getattr(home, attribute), where)
        if declaration.name in self.shipped:
            raise UsageError(f"{where}: the {self.noun} {declaration.name} ships with Shardloom: choose another name")
        for other, registered in self._trusted.items():
            if registered.name == declaration.name and registered is not declaration:
                raise UsageError(f"{where}: {other} has the name {declaration.name} as well: choose another name")
        return declaration

    def _find_entry_points(self) -> dict[str, list[EntryPoint]]:
        """Returns the entry points by name, more than one where distributions share a name.

        Those in the working folder do not count as installed: it may be the folder of a data set.
        """
        here = Path.cwd()
        path = [folder for folder in sys.path if Path(folder).resolve() != here]
        found: dict[str, list[EntryPoint]] = {}
        for entry in (entry for one in distributions(path=path) for entry in one.entry_points):
            if entry.group == self.group:
                same = found.setdefault(entry.name, [])
                if all(
                    _format_distribution(entry) != _format_distribution(other) for other in same
                ):  # one may be on the path twice
                    same.append(entry)
        return dict(sorted(found.items()))

    def _load(self, name: str, entry_points: list[EntryPoint]) -> D:
        if name in self._loaded:
            return self._loaded[name]
        where = f"{self.noun} {name} of {' and '.join(map(_format_distribution, entry_points))}"
        if len(entry_points) > 1:
            raise UsageError(f"{where}: uninstall all but one of them")
        try:
            value = entry_points[0].load()
        except Exception as error:  # noqa: BLE001  a module may raise anything
            raise UsageError(
                f"{where}: cannot load {entry_points[0].value}: "
                f"{to_one_line(error, _MAX_ERROR_CHARACTERS, with_type=True)}"
            ) from None
        declaration = self._check_declaration(value, where)
        if declaration.name != name:
            raise UsageError(f"{where}: {entry_points[0].value} declares the name {declaration.name!r}")
        self._loaded[name] = declaration
        return declaration

    def _check_declaration(self, value: Any, where: str) -> D:
        """Returns the value if it is a declaration. Calls nothing on it before its class is checked."""
        if not isinstance(value, self._class):
            raise UsageError(f"{where}: it must be of class {self._class.__name__}, not {type(value).__name__}")
        if not isinstance(value.name, str) or not _NAME.fullmatch(value.name):
            raise UsageError(f"{where}: {value.name!r} is not a valid name: use letters, digits, '.', '-' and '_'")
        return value


def _format_distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
