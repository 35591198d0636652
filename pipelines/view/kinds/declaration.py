"""Defines how the view of a kind of set is declared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.view.options import ViewOptions
from pipelines.view.page import Page
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class SetView:
    """Declares how sets are shown whose recipe is of one of `kinds`.

    `build` gets the set's folder, its stored recipe and the options. It raises `UsageError` for unfit options.
    """

    kinds: tuple[str, ...]
    build: Callable[[Folder, dict[str, Any], ViewOptions], Page]
