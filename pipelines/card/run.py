"""Writes the card of a finished set again, and Croissant metadata beside it."""

import json
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.card.croissant import build_croissant, check_croissant
from pipelines.output.card import find_license, write_card
from schemas.errors import UsageError
from schemas.extras import has_extra
from schemas.output_set.card import read_card
from schemas.output_set.layout import CARD, CROISSANT, UNFINISHED, read_manifests
from schemas.output_set.lock import lock_output
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder


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
        found = build_croissant(folder, PurePosixPath(folder.url).name, str(recipe.get("kind")), manifests, stated)
        check_croissant(found)
        folder.write(CROISSANT, json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    return WrittenCard(folder.resolve_path(CARD), folder.resolve_path(CROISSANT))
