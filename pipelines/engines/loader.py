"""Looks up the engines that a recipe chooses, checks them before a run, and creates them in a worker."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from curation.engines.batch_fitter import BatchFitter
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.gpu import limit_gpus
from curation.engines.kinds import EngineInput, EngineKind
from curation.engines.registry import ENGINES, find_engine
from pipelines.recipes.annotate import EngineOptions
from schemas.activity import report_activity
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.extras import require_extra
from schemas.log import LOG
from schemas.records.fingerprint import EngineFingerprint

_MAX_ERROR = 200  # characters of an engine's exception in a message


@dataclass(frozen=True, slots=True)
class Engine:
    """Holds an engine as the pipeline uses it: a function from a batch to the values of a column."""

    fingerprint: EngineFingerprint
    column: pa.Field
    annotate: Callable[[EngineInput], list[Any]]


def load_engine(
    kind: EngineKind,
    options: EngineOptions,
    prepared: Any = None,
    *,
    trusted: str | None = None,
    gpus: float = 1.0,
    notify: Callable[[str], object] = LOG.warning,
) -> Engine:
    """Creates the engine with its weights loaded. Raises `UsageError` for unknown engines and settings.

    `prepared` is the result of `prepare_engine`. `trusted` is the reference that the user trusts, if the engine comes
    from one. `gpus` is what this process may use of them, and `notify` gets the lines that the user should read while
    the engine works. Raises `ShardloomError` for any other exception of the engine's code.
    """
    limit_gpus(gpus)
    declaration, settings = _resolve_engine(kind, options, trusted)
    with _wrap_errors(kind, options):
        engine = declaration.make(settings) if prepared is None else declaration.make(settings, prepared)
        fitter = BatchFitter(declaration.kind, engine, notify)
        return Engine(engine.fingerprint, declaration.kind.column, fitter.annotate)


def prepare_engine(kind: EngineKind, options: EngineOptions, *, trusted: str | None = None, gpus: float = 1.0) -> Any:
    """Returns what all workers of an engine share, computed once a run; None for most engines."""
    limit_gpus(gpus)
    declaration, settings = _resolve_engine(kind, options, trusted)
    with _wrap_errors(kind, options):
        return None if declaration.prepare is None else declaration.prepare(settings)


def needs_preparing(kind: EngineKind, options: EngineOptions) -> bool:
    """Returns whether `prepare_engine` has anything to compute."""
    return find_engine(kind, options.engine).prepare is not None


def find_environment(kind: EngineKind, options: EngineOptions) -> str | None:
    """Returns the name of the separate environment that the engine runs in; None for Shardloom's own."""
    declaration, settings = _resolve_engine(kind, options)
    return declaration.get_environment(settings)


def find_device(kind: EngineKind, options: EngineOptions) -> str | None:
    """Returns the engine's setting `device`, such as `cpu` or `cuda`; None for an engine that has none."""
    _, settings = _resolve_engine(kind, options)
    device = getattr(settings, "device", None)
    return None if device is None else str(device)


def needs_pixels(kind: EngineKind, options: EngineOptions) -> bool:
    """Returns whether the engine needs images."""
    return find_engine(kind, options.engine).needs_pixels


def add_implied_settings(kind: EngineKind, options: EngineOptions) -> EngineOptions:
    """Returns a set's options of an engine with the settings that it does not store, because it is older than they."""
    implied = find_engine(kind, options.engine).implied_settings
    return options.model_copy(update={"settings": {**implied, **options.settings}})


def check_settings(chosen: Mapping[EngineKind, EngineOptions]) -> None:
    """Raises `UsageError` for unknown engines and invalid settings. Reads no file."""
    for kind, options in chosen.items():
        _resolve_engine(kind, options)


def check_engines(chosen: Mapping[EngineKind, EngineOptions], reused: Collection[EngineKind] = ()) -> list[str]:
    """Checks engines before any work and returns notices for the user. Raises `UsageError`. Loads no weights.

    Engines in `reused`, whose annotations exist already, are not checked: their weights may be missing.
    """
    engines = {kind: _resolve_engine(kind, options) for kind, options in chosen.items()}
    for kind, (declaration, settings) in engines.items():
        if declaration.extra is not None and kind not in reused and declaration.get_environment(settings) is None:
            require_extra(declaration.extra, f"{kind} by {declaration.name}")
    others = OtherEngines()
    is_checked = any(declaration.check and kind not in reused for kind, (declaration, _) in engines.items())
    if "tags" in engines and ("tags" not in reused or is_checked):
        declaration, settings = engines["tags"]
        others = OtherEngines(None if declaration.vocabulary is None else declaration.vocabulary(settings))
    notices: list[str] = []
    for kind, (declaration, settings) in engines.items():
        if declaration.check is not None and kind not in reused:
            with _wrap_errors(kind, chosen[kind]):
                notices += declaration.check(settings, others)
    return notices


def fetch_weights(chosen: Mapping[EngineKind, EngineOptions], reused: Collection[EngineKind] = ()) -> None:
    """Fetches what engines need from the hub. Raises `UsageError` where a name is unknown or the hub does not answer.

    Only engines whose settings allow a download fetch anything; those in `reused` do not run.
    """
    for kind, options in chosen.items():
        declaration, settings = _resolve_engine(kind, options)
        if declaration.fetch is None or kind in reused or not getattr(settings, "allow_download", False):
            continue
        with report_activity(f"annotate: fetching the weights of {kind}"), _wrap_errors(kind, options):
            declaration.fetch(settings)


def _resolve_engine(
    kind: EngineKind, options: EngineOptions, trusted: str | None = None
) -> tuple[EngineDeclaration[Any, Any], BaseModel]:
    """Returns the engine's declaration and its validated settings. Raises `UsageError` if they are invalid."""
    if trusted is not None:
        ENGINES.trust(trusted)
    declaration = find_engine(kind, options.engine)
    try:
        return declaration, declaration.settings.model_validate(options.settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"engines.{kind}.settings: {faults}") from None


@contextmanager
def _wrap_errors(kind: EngineKind, options: EngineOptions) -> Iterator[None]:
    """Turns any exception of an engine's code into one line. A `ShardloomError` is written for users and passes."""
    try:
        yield
    except ShardloomError:
        raise
    except Exception as error:  # an engine may raise anything
        text = to_one_line(error, _MAX_ERROR, with_type=True)
        raise ShardloomError(f"engines.{kind}: the engine {options.engine} failed: {text}") from error
