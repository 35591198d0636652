"""Recognises demonstration weights and the few words that they know. It checks recipes, so it needs no torch."""

import json
from pathlib import Path

from curation.engines.boxes.grounding_dino_settings import GroundingDinoSettings
from curation.engines.boxes.grounding_dino_weights import GROUNDING_DINO, resolve_weights_folder
from curation.engines.declaration import OtherEngines
from schemas.errors import UsageError


def read_demonstration_words(settings: GroundingDinoSettings) -> frozenset[str] | None:
    """Returns the words that the settings' weights know if they are demonstration weights, else None. Loads no weights.

    Demonstration weights have a `demonstration.json` beside them, `{"words": [...]}`. Raises `UsageError` for weights
    that are missing or unfit. Fetches nothing: weights that are still on the hub count as real ones.
    """
    if settings.allow_download and settings.weights is not None and not Path(settings.weights).is_dir():
        return None
    path = resolve_weights_folder(settings.weights, allow_download=False) / "demonstration.json"
    if not path.is_file():
        return None
    try:
        return frozenset(map(str, json.loads(path.read_text("utf-8"))["words"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GROUNDING_DINO.unfit_error(f"{path} has no list of words ({type(error).__name__})") from None


def check_demonstration(settings: GroundingDinoSettings, others: OtherEngines) -> list[str]:
    """Returns a notice for demonstration weights, which know a few words and box arbitrary things for any other word.

    Raises `UsageError` for a vocabulary that has other words or is not known, unless the settings allow that.
    """
    words = read_demonstration_words(settings)
    if words is None:
        return []
    if others.vocabulary is None and not settings.allow_out_of_vocabulary:
        raise UsageError(
            f"engines.boxes: the demonstration weights know {len(words)} things, and engines.tags is an engine whose "
            "vocabulary is not known: pass --weights boxes=FOLDER with real ones, or --allow-out-of-vocabulary"
        )
    unknown = [name for name in others.vocabulary or () if name not in words]
    if unknown and not settings.allow_out_of_vocabulary:
        raise UsageError(
            f"engines.boxes: the demonstration weights know {len(words)} things, and the tag vocabulary has "
            f"{len(unknown)} others ({', '.join(unknown[:3])}, ...): pass --weights boxes=FOLDER with real ones, "
            "--vocabulary FILE with things that they know, or --allow-out-of-vocabulary"
        )
    return [f"boxes: demonstration weights, which know {len(words)} drawn things; pass --weights boxes=FOLDER for more"]
