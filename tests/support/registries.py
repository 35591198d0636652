"""Keeps the plug-ins that one test trusts or loads from the next test of its process.

This is the one place that touches a registry's state: a program only ever adds to it, and only tests take back.
"""

from typing import Any

import pytest

from curation.registry import Registry


def isolate(patch: pytest.MonkeyPatch, *registries: Registry[Any]) -> None:
    """Makes the registries forget what they are told from now on, once `patch` is undone."""
    for registry in registries:
        patch.setattr(registry, "_trusted", dict(registry._trusted))
        patch.setattr(registry, "_loaded", dict(registry._loaded))


def forget(patch: pytest.MonkeyPatch, *registries: Registry[Any]) -> None:
    """Makes the registries know nothing but what ships and what is installed, as in a new process."""
    isolate(patch, *registries)
    for registry in registries:
        registry._trusted.clear()
        registry._loaded.clear()
