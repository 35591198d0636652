"""Defines how an engine is declared: by one object in the engine's file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, TypeVar

from pydantic import BaseModel

from curation.engines.kinds import BaseEngine, Kind

E = TypeVar("E", bound=BaseEngine)
S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class OtherEngines:
    """Holds what an engine's check may know about the recipe's other engines."""

    vocabulary: Sequence[str] | None = ()
    """The names that the tag engine can return: empty without a tag engine, None where they are not known."""


@dataclass(frozen=True, kw_only=True)
class EngineDeclaration(Generic[E, S]):
    """Declares an engine. Its module is imported to list it, so heavy libraries are imported inside the functions.

    `check`, `ask`, `fetch`, `prepare` and `make` are called with validated settings; each may raise `UsageError`.
    """

    name: str
    kind: Kind[E]
    settings: type[S]
    make: Callable[Concatenate[S, ...], E]
    """Makes the engine in each worker, from its settings and, if there is a `prepare`, from its result."""
    environment: str | Callable[[S], str | None] | None = None
    """The environment that has the engine's packages, where these conflict with Shardloom's."""
    extra: str | None = None
    """The extra of the package that installs its libraries, one of `schemas.extras`."""
    needs_pixels: bool | Callable[[S], bool] = True
    """Whether the engine reads images at all; if not, it runs before they are decoded, where its input allows that."""
    compute_wait_seconds: Callable[[S, int], float] | None = None
    """For an engine that waits for a server: the most seconds in which it answers a batch of that many images.

    It bounds its own waiting, so that a worker which waits for less is not ended as hung. Its workers need little CPU.
    """
    takes_concurrent_calls: bool = False
    """For an engine that waits for a server: whether `annotate` may be called from several threads at once.

    It then bounds the requests of all its calls together. A worker calls it for several batches of several chunks at
    once, so that the last answers to one leave none of its requests idle.
    """
    ignores_batches: bool = False
    """Whether the annotations of an image are the same to the bit in any batch, so that workers may share a batch."""
    check: Callable[[S, OtherEngines], list[str]] | None = None
    """Checks settings and weights before a run, and returns notices for the user. Loads and fetches nothing."""
    ask: Callable[[S], list[str]] | None = None
    """Asks the engine's server, once before a run and within seconds, whether it can work. Returns notices."""
    fetch: Callable[[S], Any] | None = None
    """Fetches what the settings name on the hub, before a run on this machine, so that its workers find it here."""
    prepare: Callable[[S], Any] | None = None
    """Computes what all workers share, once for each run and on a separate worker."""
    vocabulary: Callable[[S], Sequence[str]] | None = None
    """For a tag engine: returns the names that it can give, where they are known."""
    restricted_settings: Collection[str] | None = None
    """The settings that name files or allow a download, which a data set's own recipe must not set. None: all."""
    run_settings: Collection[str] = ()
    """The settings that can't alter the output: a recipe has them in `run.settings`, so that they may differ by run."""
    implied_settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that are younger than sets of this engine, each with its value in a set that does not store it."""
    is_default: bool = False
    """Whether it is used when a recipe names only the kind. Read only for engines that ship."""

    def get_environment(self, settings: S) -> str | None:
        """Returns the name of the environment in which it runs with these settings, or None for Shardloom's own."""
        return self.environment(settings) if callable(self.environment) else self.environment

    def reads_pixels(self, settings: S) -> bool:
        """Returns whether it reads images with these settings."""
        return self.needs_pixels(settings) if callable(self.needs_pixels) else self.needs_pixels
