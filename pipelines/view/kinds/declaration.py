"""Defines how the view of a kind of set is declared."""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.view.options import ViewOptions
from pipelines.view.page import Page
from pipelines.view.source import SetSource


@dataclass(frozen=True, slots=True)
class SetView:
    """Declares how sets are shown whose recipe is of one of `kinds`.

    `build` gets the set with its stored recipe, and the options. It raises `UsageError` for unfit options.
    """

    kinds: tuple[str, ...]
    build: Callable[[SetSource, ViewOptions], Page]
