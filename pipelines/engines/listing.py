"""Which engines there are, what each still needs on this machine, and the command that gets it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from pipelines.engines.registry import DEFAULT_ENGINES, ENGINES, OWN_ENVIRONMENTS, check_engines, environment
from pipelines.environments.python import environment_of, mark_of, python_of
from pipelines.recipes.annotate import EngineKind, EngineSpec
from schemas.errors import UsageError

ENVIRONMENTS = ("paddleocr", "paddleocr-gpu", "groundingdino-py", "img2dataset")
"""What `pipelines/environments` has pins of."""

_WITHOUT_CHOICE = ("rapidocr", "caption")  # ready as they are: no weights, or those of a wheel


@dataclass(frozen=True, slots=True)
class ListedEngine:
    """An engine and what it lacks here. `kind` is what it annotates, or `images` for what fetches them."""

    kind: str
    engine: str
    is_default: bool
    environment: str | None  # its own, by name
    missing: list[str]  # nothing: it is ready
    get: str | None  # the command that gets the first thing that is missing
    note: str | None


def list_engines(weights: Mapping[str, str]) -> list[ListedEngine]:
    """All engines; those of a kind in `weights` are looked at with that folder. `UsageError`: there is no such kind."""
    if unknown := sorted(set(weights) - set(get_args(EngineKind))):
        raise UsageError(f"--weights: there is no {unknown[0]!r}: use one of {', '.join(get_args(EngineKind))}")
    listed = [_listed(kind, name, weights.get(kind)) for kind, name in ENGINES]
    return [*listed, _downloader("img2dataset")]


def as_dicts(listed: list[ListedEngine]) -> list[dict[str, Any]]:
    """The list as scripts read it."""
    return [asdict(one) | {"is_ready": not one.missing} for one in listed]


def build(name: str) -> str:
    """Builds an environment, if it isn't there; returns its folder. Raises `ShardloomError`: pip could not."""
    if name not in ENVIRONMENTS:
        raise UsageError(f"there is no environment {name!r}: {', '.join(ENVIRONMENTS)}")
    python_of(name)
    return str(environment_of(name))


def _downloader(name: str) -> ListedEngine:
    listed = ListedEngine("images", name, True, name, [], None, None)
    if mark_of(name).exists():
        return listed
    get, note = f"shardloom engines --build {name}", "built at the first download, if not before"
    return replace(listed, missing=[_environment(name)], get=get, note=note)


def _environment(name: str) -> str:
    return f"its environment, {name}"


def _listed(kind: EngineKind, name: str, weights: str | None) -> ListedEngine:
    is_default = DEFAULT_ENGINES[kind] == name
    spec = EngineSpec(engine=name, settings={} if weights is None or name in _WITHOUT_CHOICE else {"weights": weights})
    missing: list[str] = []
    get = note = None
    own = OWN_ENVIRONMENTS.get((kind, name))
    try:
        own = environment(kind, spec)
        note = next(iter(check_engines({kind: spec})), None)
    except UsageError as error:
        missing.append(str(error))
        get = f"shardloom annotate {kind}:{name} --weights {kind}=FOLDER"
    if own is not None and not mark_of(own).exists():
        missing.insert(0, _environment(own))
        get = f"shardloom engines --build {own}"
    return ListedEngine(kind, name, is_default, own, missing, get, note)
