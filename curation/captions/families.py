"""Registers the families of captions by name: those that ship, and those of users."""

import importlib
from collections.abc import Mapping

from curation.captions.family import CaptionFamily
from curation.registry import Registry

SHIPPED: Mapping[str, str] = {
    "ocr": "ocr",
    "grounding": "grounding",
    "knowledge": "written.knowledge",
    "conversations": "written.conversations",
}
"""The families that ship, by name, with the module of this package that declares each as `FAMILY`."""


def _find_shipped() -> list[CaptionFamily]:
    return [importlib.import_module(f"curation.captions.{module}").FAMILY for module in SHIPPED.values()]


FAMILIES = Registry("family of captions", CaptionFamily, "shardloom.captions", _find_shipped)
