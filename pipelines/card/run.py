"""Writes the card of a finished set again, and Croissant metadata beside it."""

import json
import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.card.croissant import build_croissant, check_croissant
from pipelines.output.card import find_license, write_card
from schemas.errors import UsageError
from schemas.extras import has_extra
from schemas.masking import mask_secrets
from schemas.output_set.card import read_card
from schemas.output_set.layout import CARD, CROISSANT, UNFINISHED, read_manifests
from schemas.output_set.lock import lock_output
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder


def name_set(folder: Folder) -> str:
    """Returns the name of a set: that of its folder, whatever path leads there."""
    path = os.path.normpath(folder.get_local_path("").absolute()) if folder.is_local else mask_secrets(folder.url)
    return PurePosixPath(path).name or "set"


@dataclass(frozen=True, slots=True)
class WrittenCard:
    """Names what was written: the card, and the Croissant metadata; None where the extra is not installed."""

    card: str
    croissant: str | None


def refresh_card(output: str, license: str | None = None) -> WrittenCard:
    """Writes the card and the Croissant metadata of a set. `license` is that of the set; else the card's one stays.

    Raises `UsageError` for a folder that is no finished set.
    """
    folder = Folder(output)
    recipe = read_stored_recipe(folder)
    with lock_output(folder, "card"):
        manifests = read_manifests(folder)
        if folder.exists(UNFINISHED) or not manifests:
            raise UsageError(f"{output} is not finished: the command that made it resumes it; write its card then")
        write_card(folder, str(recipe.get("kind")), manifests, license)
        if not has_extra("croissant"):
            return WrittenCard(folder.resolve_path(CARD), None)
        stated = find_license(read_card(folder))
        found = build_croissant(folder, name_set(folder), str(recipe.get("kind")), manifests, stated)
        check_croissant(found)
        folder.write(CROISSANT, json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    return WrittenCard(folder.resolve_path(CARD), folder.resolve_path(CROISSANT))
