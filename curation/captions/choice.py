"""Chooses among the captions of an image, so that places are trained on inside a caption and not as a bare list.

BLIP-3 writes the places of objects into a caption (section 5.1). A grounding set that wrote them into the alt texts has
a list of objects, "The image contains dog (in the center)", as the caption without the alt text.
"""

from collections.abc import Sequence

from schemas.layouts import blip3_grounding
from schemas.records.caption import Caption


def choose_caption(captions: Sequence[Caption], granularity: int, raw_caption: bool | None) -> Caption | None:
    """Returns the caption of a granularity that begins with the image's alt text, or the one that does not.

    None for `raw_caption` takes the one without the alt text, unless that is a bare list of objects and the other is
    not. Returns None if there is no such caption.
    """
    without, with_raw = (
        next(
            (each for each in captions if (each.granularity, each.include_datacomp_raw_cap) == (granularity, flag)),
            None,
        )
        for flag in (False, True)
    )
    if raw_caption is None:
        raw_caption = bool(without and with_raw and with_raw.text and is_bare_list(without.text, granularity))
    return with_raw if raw_caption else without


def is_bare_list(text: str, granularity: int) -> bool:
    """Returns whether a caption is only a list of objects with their places. Captions of text lines never are."""
    return granularity in blip3_grounding.GRANULARITIES and blip3_grounding.is_bare_list(text, granularity)
