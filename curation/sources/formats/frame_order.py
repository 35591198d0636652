"""Assigns the frames of a MINT-1T document to its images (docs/formats.md §5).

Frames are normally in the order in which `images` names them. `image_metadata` identifies its entries by page and xref,
and may list those of one page in another order. If the sizes of a page's frames contradict the first order, the frames
may be in the second: it is used if it fits all images of the page, otherwise these images are lost.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

Size = tuple[int, int]
SizeOf = Callable[[int], Size | None]
"""Returns the width and height of a frame in pixels; None if its header cannot be read."""

Entries = Mapping[str, Mapping[str, Any]]
"""The metadata entry of each image, by the image's name in `images`; in the order of the metadata."""


def index_entries_by_name(entries: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the entries that have a page and an xref, by image name; the first entry of an image counts."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, Mapping) and "page" in entry and "xref" in entry:
            page, xref = (to_uid(entry[name]) or entry[name] for name in ("page", "xref"))
            found.setdefault(f"page_{page}_image_{xref}", entry)
    return found


def match_frames(names: Sequence[str], entries: Entries, frames: int, size_of: SizeOf) -> list[int | Rejected]:
    """Returns the number of each name's frame (0 to `frames` - 1), or why its image is lost.

    A repeated name is one image, whether it has one frame or two. An image without a metadata entry may have no frame.
    If the metadata alone lists an image, the frames are in the order of the metadata.
    """
    distinct = list(dict.fromkeys(names))
    orders = (list(names), distinct, [name for name in distinct if name in entries])
    order = next((order for order in orders if len(order) == frames), None)
    found: dict[str, int | Rejected] = {}
    if order is not None:
        for number, name in enumerate(order):
            found.setdefault(name, number)
        for page in _group_by_page(found, entries):
            found |= _match_page(page, [name for name in entries if name in page], order, entries, size_of)
    elif frames == len(entries):
        places = {name: number for number, name in enumerate(entries)}
        for page in _group_by_page(places, entries):
            found |= _match_by_size(page, entries, size_of)
    else:
        return [Rejected(Reason.LOST_IMAGE, f"{frames} frames for {len(names)} images")] * len(names)
    return [found.get(name, Rejected(Reason.LOST_IMAGE, f"no entry for {name[:100]!r}")) for name in names]


def _group_by_page(found: Mapping[str, int | Rejected], entries: Entries) -> list[dict[str, int]]:
    """Groups by page the names that have an entry, with their frames."""
    pages: dict[str, dict[str, int]] = defaultdict(dict)
    for name, number in found.items():
        if name in entries and isinstance(number, int):
            pages[_get_page(name)][name] = number
    return list(pages.values())


def _get_page(name: str) -> str:
    return name.rpartition("_image_")[0]


def _match_page(
    page: Mapping[str, int], listed: Sequence[str], order: Sequence[str], entries: Entries, size_of: SizeOf
) -> dict[str, int | Rejected]:
    """Returns the frames of one page in their own order if it fits, else in the order `listed`, else lost images.

    Images of the page that have no entry are lost with the others: their frames may be those of the others.
    """
    if all(_has_matching_size(size_of(number), entries[name]) for name, number in page.items()):
        return dict(page)
    other = dict(zip(listed, sorted(page.values()), strict=True))
    is_alone = all(order.count(name) == 1 for name in page)
    if is_alone and all(_has_matching_size(size_of(number), entries[name]) for name, number in other.items()):
        return dict(other)
    odd = next(name for name, number in page.items() if not _has_matching_size(size_of(number), entries[name]))
    sizes = [f"{width} x {height}" for width, height in filter(None, (size_of(page[odd]), _read_size(entries[odd])))]
    fault = Rejected(Reason.LOST_IMAGE, f"frame {page[odd]} has {sizes[0]} pixels, {odd[:100]!r} has {sizes[1]}")
    return dict.fromkeys((name for name in order if _get_page(name) == _get_page(odd)), fault)


def _match_by_size(page: Mapping[str, int], entries: Entries, size_of: SizeOf) -> dict[str, int | Rejected]:
    """Assigns the frames of one page by size: their order is unknown, because `images` leaves some of them out."""
    if all(_has_matching_size(size_of(number), entries[name]) for name, number in page.items()) and len(page) == 1:
        return dict(page)
    by_size = {size_of(number): number for number in page.values()}
    found = {name: by_size[size] for name in page if (size := _read_size(entries[name])) in by_size}
    if len(page) > 1 and sorted(found.values()) == sorted(page.values()):
        return dict(found)
    fault = Rejected(Reason.LOST_IMAGE, f"sizes do not tell which of {len(page)} frames of its page is which image")
    return dict.fromkeys(page, fault)


def _has_matching_size(size: Size | None, entry: Mapping[str, Any]) -> bool:
    return size is None or _read_size(entry) in (None, size)


def _read_size(entry: Mapping[str, Any]) -> Size | None:
    """Returns the width and height of an entry, which may be integers, floats or text; None if one is missing."""
    texts = [to_uid(entry.get(name)) or "" for name in ("width", "height")]
    width, height = (int(side) if side.isdecimal() and len(side) < 10 else None for side in texts)
    return None if width is None or height is None else (width, height)
