"""Shows the kinds of sets: each module declares those that it shows as `VIEW`, and is found by being here."""

import importlib
import pkgutil
from functools import cache

from pipelines.view.kinds.declaration import SetView


@cache
def list_views() -> dict[str, SetView]:
    """Returns the views by the kind of a set's recipe."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return {kind: one.VIEW for one in modules if hasattr(one, "VIEW") for kind in one.VIEW.kinds}
