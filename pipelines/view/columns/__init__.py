"""Draws the columns of annotation sets: each module declares one as `VIEW`, and is found by being here."""

import importlib
import pkgutil
from functools import cache

from pipelines.view.columns.declaration import ColumnView


@cache
def list_columns() -> tuple[ColumnView, ...]:
    """Returns the views of all columns, in the order in which a page shows them."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return tuple(sorted((one.VIEW for one in modules if hasattr(one, "VIEW")), key=lambda view: view.order))
