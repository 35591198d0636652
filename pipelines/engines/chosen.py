"""The engines that a recipe chooses: looked up, checked before a run, and made in a worker."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from curation.engines.declaration import EngineDeclaration, Others
from curation.engines.kinds import Batch, EngineKind
from curation.engines.registry import ENGINES, find_engine
from pipelines.recipes.annotate import EngineOptions
from schemas.errors import ShardloomError, UsageError, one_line
from schemas.records.fingerprint import EngineFingerprint

_SHOWN = 200  # characters of an engine's own exception


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine as the pipeline uses it: images in, values of its column out."""

    fingerprint: EngineFingerprint
    column: pa.Field
    annotate: Callable[[Batch], list[Any]]


def load_engine(
    kind: EngineKind,
    options: EngineOptions,
    prepared: Any = None,
    *,
    trusted: str | None = None,
    sees_gpus: bool = True,
) -> Engine:
    """Makes the engine, with its weights loaded. Raises `UsageError` for unknown engines and settings.

    `trusted` is the reference that the user trusts, where the engine comes by one.
    """
    _hide_gpus(sees_gpus)
    declaration, settings = _chosen(kind, options, trusted)
    with _named(kind, options):
        engine = declaration.make(settings) if prepared is None else declaration.make(settings, prepared)
        return Engine(engine.fingerprint, declaration.kind.column, partial(declaration.kind.annotate, engine))


def prepare(kind: EngineKind, options: EngineOptions, *, trusted: str | None = None, sees_gpus: bool = True) -> Any:
    """Works out what all workers of an engine share, once a run; None for most."""
    _hide_gpus(sees_gpus)
    declaration, settings = _chosen(kind, options, trusted)
    with _named(kind, options):
        return None if declaration.prepare is None else declaration.prepare(settings)


def needs_preparing(kind: EngineKind, options: EngineOptions) -> bool:
    """Says whether `prepare` has anything to do."""
    return find_engine(kind, options.engine).prepare is not None


def environment(kind: EngineKind, options: EngineOptions) -> str | None:
    """Returns the name of the environment that the engine runs in; None for ours."""
    declaration, settings = _chosen(kind, options)
    return declaration.environment_for(settings)


def needs_pixels(kind: EngineKind, options: EngineOptions) -> bool:
    """Says whether the engine looks at images at all."""
    return find_engine(kind, options.engine).needs_pixels


def check_settings(chosen: Mapping[EngineKind, EngineOptions]) -> None:
    """Raises `UsageError` for engines that there are not, and for settings that they don't take. Reads no file."""
    for kind, options in chosen.items():
        _chosen(kind, options)


def check_engines(chosen: Mapping[EngineKind, EngineOptions], reused: Collection[EngineKind] = ()) -> list[str]:
    """Raises `UsageError` for what is wrong with engines before any work is done. Loads no weights.

    Of engines that are `reused`, because their annotations are there already, nothing needs to be at hand. Returns what
    the user should be told of the others.
    """
    engines = {kind: _chosen(kind, options) for kind, options in chosen.items()}
    others = Others()
    is_checked = any(declaration.check and kind not in reused for kind, (declaration, _) in engines.items())
    if "tags" in engines and ("tags" not in reused or is_checked):
        declaration, settings = engines["tags"]
        others = Others(None if declaration.vocabulary is None else declaration.vocabulary(settings))
    notices: list[str] = []
    for kind, (declaration, settings) in engines.items():
        if declaration.check is not None and kind not in reused:
            with _named(kind, chosen[kind]):
                notices += declaration.check(settings, others)
    return notices


def _chosen(
    kind: EngineKind, options: EngineOptions, trusted: str | None = None
) -> tuple[EngineDeclaration[Any, Any], BaseModel]:
    """Returns the engine's declaration and its settings, which are checked. Raises `UsageError`."""
    if trusted is not None:
        ENGINES.trust(trusted)
    declaration = find_engine(kind, options.engine)
    try:
        return declaration, declaration.settings.model_validate(options.settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"engines.{kind}.settings: {faults}") from None


def _hide_gpus(sees_gpus: bool) -> None:
    """Ray hides no GPU from a worker that asked for none: each would take the first."""
    if not sees_gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@contextmanager
def _named(kind: EngineKind, options: EngineOptions) -> Iterator[None]:
    """Makes one line of whatever an engine's own code raises, but for what it says to the user by itself."""
    try:
        yield
    except ShardloomError:
        raise
    except Exception as error:  # an engine may raise anything
        text = one_line(error, _SHOWN, with_type=True)
        raise ShardloomError(f"engines.{kind}: the engine {options.engine} failed: {text}") from error
