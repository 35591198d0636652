"""Which weights are for demonstration, and the few words that they know. Needs no torch: it checks recipes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from curation.engines.boxes.grounding_dino_weights import GROUNDING_DINO, weights_folder

if TYPE_CHECKING:
    from curation.engines.boxes.grounding_dino import GroundingDinoSettings


def demonstration_words(settings: "GroundingDinoSettings") -> frozenset[str] | None:
    """The words that the settings' weights know if they are demonstration weights, else None. Loads no weights.

    Demonstration weights are those with a `demonstration.json` beside them, `{"words": [...]}`. Raises `UsageError` for
    weights that are missing or unfit. Fetches nothing: what is on the hub, and not yet here, is real.
    """
    if settings.allow_download and settings.weights is not None and not Path(settings.weights).is_dir():
        return None
    path = weights_folder(settings.weights, allow_download=False) / "demonstration.json"
    if not path.is_file():
        return None
    try:
        return frozenset(map(str, json.loads(path.read_text("utf-8"))["words"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GROUNDING_DINO.unfit(f"{path} has no list of words ({type(error).__name__})") from None
