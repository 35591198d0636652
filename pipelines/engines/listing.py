"""Lists the engines, what each still needs on this machine, and the command that gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import ValidationError

from curation.captions.families import FAMILIES
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import KINDS
from curation.engines.registry import ENGINES
from curation.registry import Registry
from curation.sources import SOURCES
from pipelines.engines.loader import check_engines
from pipelines.environments.python import ensure_environment, get_completion_mark, get_environment_folder
from pipelines.recipes.annotate import EngineOptions
from schemas.errors import ShardloomError, UsageError, to_one_line

ENVIRONMENTS = ("paddleocr", "paddleocr-gpu", "onnxruntime-gpu", "groundingdino-py", "img2dataset", "lmms-eval")
"""The environments for which `pipelines/environments` has pins."""

BROKEN = "broken"
"""The kind of an engine that can't be loaded."""

OTHER_PLUGINS: dict[str, Registry[Any]] = {"source": SOURCES, "family": FAMILIES}
"""The plug-ins beside engines. Those that ship are always ready, and their command's help lists them."""


@dataclass(frozen=True, slots=True)
class ListedEngine:
    """Describes an engine and what it needs here. `kind` is what it annotates, `images` for a downloader, or `broken`.

    Plug-ins of other kinds are listed too, with the kind `source` or `family`.
    """

    kind: str
    engine: str
    is_default: bool
    environment: str | None  # the name of its separate environment
    missing: list[str]  # empty when it is ready
    get: str | None  # the command that gets the first missing thing
    note: str | None
    origin: str | None = None  # of a plug-in: its distribution, or the reference that the user trusts


def list_engines(weights: Mapping[str, str]) -> list[ListedEngine]:
    """Returns all engines. Checks those of a kind in `weights` with its folder. Raises `UsageError` for other kinds."""
    if unknown := sorted(set(weights) - set(KINDS)):
        raise UsageError(f"--weights: there is no {unknown[0]!r}: use one of {', '.join(KINDS)}")
    listed = []
    for found in ENGINES.list_entries():
        if (engine := found.declaration) is None:
            broken = ListedEngine(BROKEN, found.name, False, None, [found.error or ""], None, None, found.origin)
            listed.append(broken)
        else:
            one = _list_engine(engine, weights.get(engine.kind.name))
            listed.append(replace(one, is_default=one.is_default and found.origin is None, origin=found.origin))
    for kind, registry in OTHER_PLUGINS.items():
        for plugin in registry.list_entries():
            if plugin.origin is not None:
                missing = [] if plugin.error is None else [plugin.error]
                listed.append(ListedEngine(kind, plugin.name, False, None, missing, None, None, plugin.origin))
    return [*listed, _list_downloader("img2dataset")]


def trust_references(references: Sequence[str]) -> None:
    """Registers the user's references, each of an engine, a source or a family of captions.

    Raises `UsageError` for a reference that no registry accepts.
    """
    for reference in references:
        faults = []
        for registry in (ENGINES, *OTHER_PLUGINS.values()):
            try:
                registry.trust(reference)
                break
            except UsageError as error:
                faults.append(error)
        else:
            raise faults[0]


def as_dicts(listed: list[ListedEngine]) -> list[dict[str, Any]]:
    """Returns the list as the rows of `--json`, with `is_ready`."""
    return [asdict(one) | {"is_ready": not one.missing} for one in listed]


def build_environment(name: str) -> str:
    """Builds an environment if it doesn't exist, and returns its folder. Raises `ShardloomError` if pip fails."""
    if name not in ENVIRONMENTS:
        raise UsageError(f"there is no environment {name!r}: {', '.join(ENVIRONMENTS)}")
    ensure_environment(name)
    return str(get_environment_folder(name))


def _list_downloader(name: str) -> ListedEngine:
    listed = ListedEngine("images", name, True, name, [], None, None)
    if get_completion_mark(name).exists():
        return listed
    get, note = f"shardloom engines --build {name}", "built at the first download, if not before"
    return replace(listed, missing=[_describe_environment(name)], get=get, note=note)


def _describe_environment(name: str) -> str:
    return f"its environment, {name}"


def _list_engine(engine: EngineDeclaration[Any, Any], weights: str | None) -> ListedEngine:
    kind, name = engine.kind.name, engine.name
    takes_weights = "weights" in engine.settings.model_fields
    options = EngineOptions(engine=name, settings={"weights": weights} if takes_weights and weights else {})
    missing: list[str] = []
    get = note = own = None
    try:
        own = engine.get_environment(engine.settings.model_validate(options.settings))
        note = next(iter(check_engines({kind: options})), None)
    except (ShardloomError, ValidationError) as error:
        missing.append(to_one_line(error))
        get = f"shardloom annotate {kind}:{name} --weights {kind}=FOLDER" if takes_weights else None
        if engine.run_settings:
            get = f"shardloom recipe copy {kind}"  # its settings are in recipes alone
    if own is not None and not get_completion_mark(own).exists():
        missing.insert(0, _describe_environment(own))
        get = f"shardloom engines --build {own}" if own in ENVIRONMENTS else None
    return ListedEngine(kind, name, engine.is_default, own, missing, get, note)
