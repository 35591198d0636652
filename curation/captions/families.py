"""Registers the families of captions by name: those that ship, and those of users."""

import importlib

from curation.captions.family import CaptionFamily
from curation.registry import Registry

SHIPPED = ("ocr", "grounding")
"""Names of the families that ship. Each is declared as `FAMILY` in the module of the same name."""


def _find_shipped() -> list[CaptionFamily]:
    return [importlib.import_module(f"curation.captions.{name}").FAMILY for name in SHIPPED]


FAMILIES = Registry("family of captions", CaptionFamily, "shardloom.captions", _find_shipped)
