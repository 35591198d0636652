"""Looks up the engines that a recipe chooses, checks them before a run, and creates them in a worker."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from curation.engines.batch_fitter import BatchFitter
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.gpu import limit_gpus
from curation.engines.kinds import EngineInput, RetryReporter
from curation.engines.registry import ENGINES, find_engine
from curation.engines.stages import StageName, get_kind, get_stage_column
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
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
    compute_wait_seconds: Callable[[int], float] | None
    """Returns for how many seconds it may wait for a server, by the images of a batch; None: it does not wait."""


def load_engine(
    stage: StageName,
    options: EngineOptions,
    prepared: Any = None,
    *,
    trusted: str | None = None,
    gpus: float = 1.0,
    notify: Callable[[str], object] = LOG.warning,
    report_retries: Callable[[Mapping[str, int]], object] | None = None,
) -> Engine:
    """Creates the engine with its weights loaded. Raises `UsageError` for unknown engines and settings.

    `prepared` is the result of `prepare_engine`. `trusted` is the reference that the user trusts, if the engine comes
    from one. `gpus` is what this process may use of them, and `notify` gets the lines that the user should read while
    the engine works; `report_retries` gets which requests it is retrying. Raises `ShardloomError` for any other
    exception of the engine's code.
    """
    limit_gpus(gpus)
    declaration, settings = _resolve_engine(stage, options, trusted)
    with _wrap_errors(stage, options):
        engine = declaration.make(settings) if prepared is None else declaration.make(settings, prepared)
        if report_retries is not None and isinstance(engine, RetryReporter):
            engine.report_retries_to(report_retries)
        fitter = BatchFitter(declaration.kind, engine, notify)
        compute = declaration.compute_wait_seconds
        wait = None if compute is None else functools.partial(compute, settings)
        return Engine(engine.fingerprint, get_stage_column(stage), fitter.annotate, wait)


def prepare_engine(stage: StageName, options: EngineOptions, *, trusted: str | None = None, gpus: float = 1.0) -> Any:
    """Returns what all workers of an engine share, computed once a run; None for most engines."""
    limit_gpus(gpus)
    declaration, settings = _resolve_engine(stage, options, trusted)
    with _wrap_errors(stage, options):
        return None if declaration.prepare is None else declaration.prepare(settings)


def needs_preparing(stage: StageName, options: EngineOptions) -> bool:
    """Returns whether `prepare_engine` has anything to compute."""
    return find_engine(stage, options.engine).prepare is not None


def find_environment(stage: StageName, options: EngineOptions) -> str | None:
    """Returns the name of the separate environment that the engine runs in; None for Shardloom's own."""
    declaration, settings = _resolve_engine(stage, options)
    return declaration.get_environment(settings)


def find_device(stage: StageName, options: EngineOptions) -> str | None:
    """Returns the engine's setting `device`, such as `cpu` or `cuda`; None for an engine that has none."""
    _, settings = _resolve_engine(stage, options)
    device = getattr(settings, "device", None)
    return None if device is None else str(device)


def needs_pixels(stage: StageName, options: EngineOptions) -> bool:
    """Returns whether the engine needs images."""
    declaration, settings = _resolve_engine(stage, options)
    return declaration.reads_pixels(settings)


def waits_for_server(stage: StageName, options: EngineOptions) -> bool:
    """Returns whether the engine waits for a server, so that its workers need little CPU."""
    return find_engine(stage, options.engine).compute_wait_seconds is not None


def takes_concurrent_calls(stage: StageName, options: EngineOptions) -> bool:
    """Returns whether a worker may call the engine from several threads at once."""
    return find_engine(stage, options.engine).takes_concurrent_calls


def ignores_batches(stage: StageName, options: EngineOptions) -> bool:
    """Returns whether the engine annotates an image alike in any batch."""
    return find_engine(stage, options.engine).ignores_batches


def add_implied_settings(stage: StageName, options: EngineOptions) -> EngineOptions:
    """Returns a set's options of an engine with the settings that it does not store, because it is older than they."""
    implied = find_engine(stage, options.engine).implied_settings
    return options.model_copy(update={"settings": {**implied, **options.settings}})


def check_settings(recipe: AnnotateRecipe) -> None:
    """Raises `UsageError` for unknown engines, and for settings that are invalid or in the wrong half of the recipe.

    Reads no file.
    """
    run = recipe.run.settings
    if unused := [stage for stage in run if stage not in {*recipe.stages, *map(get_kind, recipe.stages)}]:
        raise UsageError(f"run.settings.{unused[0]}: {unused[0]} is not among the engines")
    for stage, options in recipe.engines.list_stages().items():
        movable = find_engine(stage, options.engine).run_settings
        if found := [name for name in options.settings if name in movable]:
            raise UsageError(
                f"engines.{stage}.settings.{found[0]} can't alter the output: set it in "
                f"run: {{settings: {{{stage}: {{{found[0]}: ...}}}}}}"
            )
        for group in (get_kind(stage), stage):
            if found := [name for name in run.get(group, {}) if name not in movable]:
                raise UsageError(
                    f"run.settings.{group}.{found[0]} can alter the output of {options.engine}: "
                    f"set engines.{stage}.settings.{found[0]}"
                )
    for stage, options in recipe.stages.items():
        _resolve_engine(stage, options)


def check_engines(chosen: Mapping[StageName, EngineOptions], reused: Collection[StageName] = ()) -> list[str]:
    """Checks engines before any work and returns notices for the user. Raises `UsageError`. Loads no weights.

    Engines in `reused`, whose annotations exist already, are not checked: their weights may be missing.
    """
    engines = {stage: _resolve_engine(stage, options) for stage, options in chosen.items()}
    for stage, (declaration, settings) in engines.items():
        if declaration.extra is not None and stage not in reused and declaration.get_environment(settings) is None:
            require_extra(declaration.extra, f"{stage} by {declaration.name}")
    others = OtherEngines()
    is_checked = any(declaration.check and stage not in reused for stage, (declaration, _) in engines.items())
    if "tags" in engines and ("tags" not in reused or is_checked):
        declaration, settings = engines["tags"]
        others = OtherEngines(None if declaration.vocabulary is None else declaration.vocabulary(settings))
    notices: list[str] = []
    for stage, (declaration, settings) in engines.items():
        if declaration.check is not None and stage not in reused:
            with _wrap_errors(stage, chosen[stage]):
                notices += declaration.check(settings, others)
    return notices


def ask_servers(chosen: Mapping[StageName, EngineOptions], reused: Collection[StageName] = ()) -> list[str]:
    """Asks the servers of the engines, once each, whether they can work. Returns notices for the user.

    Raises `UsageError` where a server can't. Engines in `reused` do not run.
    """
    notices: list[str] = []
    for stage, options in chosen.items():
        declaration, settings = _resolve_engine(stage, options)
        if declaration.ask is not None and stage not in reused:
            with report_activity(f"annotate: asking the server of {stage}"), _wrap_errors(stage, options):
                notices += declaration.ask(settings)
    return list(dict.fromkeys(notices))


def fetch_weights(chosen: Mapping[StageName, EngineOptions], reused: Collection[StageName] = ()) -> None:
    """Fetches what engines need from the hub. Raises `UsageError` where a name is unknown or the hub does not answer.

    Only engines whose settings allow a download fetch anything; those in `reused` do not run.
    """
    for stage, options in chosen.items():
        declaration, settings = _resolve_engine(stage, options)
        if declaration.fetch is None or stage in reused or not getattr(settings, "allow_download", False):
            continue
        with report_activity(f"annotate: fetching the weights of {stage}"), _wrap_errors(stage, options):
            declaration.fetch(settings)


def _resolve_engine(
    stage: StageName, options: EngineOptions, trusted: str | None = None
) -> tuple[EngineDeclaration[Any, Any], BaseModel]:
    """Returns the engine's declaration and its validated settings. Raises `UsageError` if they are invalid."""
    if trusted is not None:
        ENGINES.trust(trusted)
    declaration = find_engine(stage, options.engine)
    try:
        return declaration, declaration.settings.model_validate(options.settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UsageError(f"engines.{stage}.settings: {faults}") from None


@contextmanager
def _wrap_errors(stage: StageName, options: EngineOptions) -> Iterator[None]:
    """Turns any exception of an engine's code into one line. A `ShardloomError` is written for users and passes."""
    try:
        yield
    except ShardloomError:
        raise
    except Exception as error:  # an engine may raise anything
        text = to_one_line(error, _MAX_ERROR, with_type=True)
        raise ShardloomError(f"engines.{stage}: the engine {options.engine} failed: {text}") from error
