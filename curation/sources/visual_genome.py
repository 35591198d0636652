"""Reads Visual Genome's `region_descriptions.json`, a list with one object per image (docs/formats.md §7).

`{"id", "regions": [{"region_id", "image_id", "x", "y", "width", "height", "phrase"}]}`. A box is the top left corner
and the size, in pixels of the image as published. The image is `{id}.jpg` in one of the two folders `VG_100K` and
`VG_100K_2`. The file does not say in which, so the reader returns the bare file name, and the image store looks it up.

An image has about fifty phrases, each of a few words about one region: as separate samples they would outweigh every
other set fifty times. So the caption is all distinct phrases in the order of the file, joined by full stops. The
metadata contains the regions, from which a trainer may choose others. A region whose box is not four numbers keeps its
phrase, and the metadata keeps the values of its box unchanged.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import dump_metadata, malformed_row_error, read_optional_list, read_training_text
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedCaptionedImage, ParsedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

_BOX = ("x", "y", "width", "height")


def read(item: Any) -> ParsedCaptionedImage:
    """Returns the captioned image of one object. Raises `Rejected`."""
    if not isinstance(item, Mapping):
        raise malformed_row_error(f"a {type(item).__name__}, not an object")
    number = next((item[name] for name in ("id", "image_id") if item.get(name) is not None), None)
    name = to_uid(number) or ""
    if not (name.isascii() and name.isdigit()):
        raise malformed_row_error("its id is not a whole number")
    regions = [
        _read_region(region, place) for place, region in enumerate(read_optional_list(item.get("regions"), "regions"))
    ]
    phrases: dict[str, str] = {}
    for region in regions:
        phrase = (region["phrase"] if isinstance(region, dict) else "").rstrip(" .")
        if phrase:
            phrases.setdefault(phrase.casefold(), phrase)
    if not phrases:
        raise Rejected(Reason.NO_CAPTION, "no region has a phrase")
    return ParsedCaptionedImage(
        uid=name,
        url=None,
        image=ParsedImage(f"{name}.jpg"),
        text=". ".join(phrases.values()),
        metadata=dump_metadata({"regions": regions}),
    )


def _read_region(region: Any, place: int) -> Any:
    """Returns the fields of a region that are kept; a value that is not an object unchanged."""
    if not isinstance(region, Mapping):
        return region
    phrase = " ".join((read_training_text(region.get("phrase"), f"region {place}'s phrase") or "").split())
    box = {name: region.get(name) for name in _BOX}
    return {"region_id": region.get("region_id"), "phrase": phrase} | box


SOURCE = SourceReader(
    "visual-genome", ignore_options(read), (".json",), is_captions=True, items=read_entries, offsets=find_entry_offsets
)
