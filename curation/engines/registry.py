"""Registers all engines. Those that ship are the modules with an `ENGINE` in a folder of `curation.engines`."""

import importlib
import pkgutil
from typing import Any

import curation.engines
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import KINDS, EngineKind
from curation.engines.stages import StageName, get_kind
from curation.registry import Registry
from schemas.errors import UsageError


def find_shipped() -> list[EngineDeclaration[Any, Any]]:
    """Returns the engines that ship, kind by kind, the default of each kind first. Imports no heavy library."""
    found: list[EngineDeclaration[Any, Any]] = []
    for kind in KINDS:
        package = f"{curation.engines.__name__}.{kind}"
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        names = sorted(module.name for module in modules if not module.ispkg)
        declared = [getattr(importlib.import_module(f"{package}.{name}"), "ENGINE", None) for name in names]
        found += sorted(filter(None, declared), key=lambda engine: (not engine.is_default, engine.name))
    return found


ENGINES: Registry[EngineDeclaration[Any, Any]] = Registry(
    "engine", EngineDeclaration, "shardloom.engines", find_shipped
)


def find_engine(stage: StageName, name: str) -> EngineDeclaration[Any, Any]:
    """Returns the engine with this name or trusted reference. Raises `UsageError` for none, or one of another kind."""
    kind = get_kind(stage)
    try:
        engine = ENGINES.find(name)
    except UsageError as error:
        if ":" in name or name in ENGINES.list_names():  # a known name is of an installed, broken engine
            raise UsageError(f"engines.{stage}: {error}") from None
        known = ", ".join(engine.name for engine in find_engines(kind))
        raise UsageError(f"engines.{stage}: no engine is named {name!r}: use one of {known}") from None
    if engine.kind.name != kind:
        raise UsageError(f"engines.{stage}: the engine {engine.name} annotates {engine.kind.name}")
    return engine


def find_engines(kind: EngineKind) -> list[EngineDeclaration[Any, Any]]:
    """Returns all engines of a kind, including plug-ins, without those that are broken."""
    found = [entry.declaration for entry in ENGINES.list_entries()]
    return [engine for engine in found if engine is not None and engine.kind.name == kind]


def find_default_engine(kind: EngineKind) -> str:
    """Returns the name of a kind's default engine: it runs on a laptop, with weights that ship.

    Raises `UsageError` for a kind without one.
    """
    for name, engine in ENGINES.shipped.items():
        if engine.kind.name == kind and engine.is_default:
            return name
    names = ", ".join(engine.name for engine in find_engines(kind))
    raise UsageError(f"{kind} have no engine by default: name one of {names}, or pass a recipe that does")
