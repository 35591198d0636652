"""How an engine is declared: the one object that its file has to have."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, TypeVar

from pydantic import BaseModel

from curation.engines.kinds import Fingerprinted, Kind

E = TypeVar("E", bound=Fingerprinted)
S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Others:
    """What an engine's check may know of the recipe's other engines."""

    vocabulary: Sequence[str] | None = ()
    """The names that the tag engine can give: none without a tag engine, None where they are not known."""


@dataclass(frozen=True, kw_only=True)
class EngineDeclaration(Generic[E, S]):
    """An engine, before it is made. Its module is imported to list it: heavy libraries belong inside the functions.

    `check`, `prepare` and `make` are called with settings that have been validated; each may raise `UsageError`.
    """

    name: str
    kind: Kind[E]
    settings: type[S]
    make: Callable[Concatenate[S, ...], E]
    """Makes the engine, in each worker: of its settings and, if there is a `prepare`, of what this has returned."""
    environment: str | Callable[[S], str] | None = None
    """The environment that has its packages, where those can't be installed beside ours."""
    extra: str | None = None
    """The extra of the package that its libraries come with, one of `schemas.extras`."""
    needs_pixels: bool = True
    """Whether it looks at images at all; one that doesn't runs before they are decoded."""
    check: Callable[[S, Others], list[str]] | None = None
    """Looks for what is wrong before a run, and returns notices for the user. Loads and fetches nothing."""
    prepare: Callable[[S], Any] | None = None
    """Works out what all workers share, once a run and on a worker of its own."""
    vocabulary: Callable[[S], Sequence[str]] | None = None
    """A tag engine's: the names that it can give, where they are known."""
    outside: Collection[str] | None = None
    """The settings that name files or allow a download, which a data set's own recipe can't give. None: all of them."""
    is_default: bool = False
    """Whether the kind alone stands for it. Only engines that ship are asked."""

    def environment_for(self, settings: S) -> str | None:
        """Returns the name of the environment that it runs in with these settings; None for ours."""
        return self.environment(settings) if callable(self.environment) else self.environment
