"""MINT-1T PDF: WebDataset, `{key}.json` and `{key}.tiff` with a frame for each image (reference: formats.md §5).

In the json, `texts` and `images` have one entry a part, one of them null; an image is `page_{page}_image_{xref}`, and
entry i of `image_metadata`, with its `page` and `xref`, is frame i. References are looked up there: counting them off
against the frames goes wrong as soon as one of them is missing. Where the frames are not as many as the entries,
nothing tells which frame is whose, and the images are lost; so are those of a document without a tiff. The text stays.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from curation.sources.formats import tiff
from curation.sources.formats.fields import as_json, interleaved, json_object, optional_list, optional_text, others
from curation.sources.options import ReadOptions
from curation.sources.reader import SourceReader
from schemas.records.document import Draft, DraftImage, ImageSource
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import TarSample

_TOLD = ("texts", "images", "image_metadata", "url")


def read(sample: TarSample, options: ReadOptions) -> Draft:
    """The document of one sample, its images as bytes."""
    if sample.fault is not None:
        raise sample.fault
    if "json" not in sample.members:
        raise Rejected(Reason.MISSING_METADATA, "no .json member")
    content = json_object(sample.members["json"].data, "the .json member")
    texts, references, entries = (optional_list(content.get(name), name) for name in _TOLD[:3])
    names = [optional_text(reference, f"part {place}") for place, reference in enumerate(references)]
    shown = iter(_images(sample, [name for name in names if name is not None], entries, options))
    images = [None if name is None else next(shown) for name in names]
    uid, url = sample.key.rpartition("/")[2], optional_text(content.get("url"), "url")
    return interleaved(uid, url, texts, images, others(content, _TOLD))


def _images(sample: TarSample, names: list[str], entries: list[Any], options: ReadOptions) -> Iterator[DraftImage]:
    """The image that each name stands for."""
    numbers = _frames_of(names, entries)
    named = sorted({number for number in numbers if isinstance(number, int)})
    found = _frames(sample, len(entries) or len(names), named, options)
    for name, frame in zip(names, numbers, strict=True):
        about = entries[frame] if isinstance(frame, int) and frame < len(entries) else None
        source: ImageSource = frame if isinstance(frame, Rejected) else found[frame]
        told = {"reference": name} | (about if isinstance(about, dict) else {})
        yield DraftImage(source, metadata=as_json(told))


def _frames_of(references: list[str], entries: list[Any]) -> list[int | Rejected]:
    """The number of each reference's frame.

    Papers may have other names, and no `page` and `xref`: they are counted off, if there are as many as entries.
    """
    numbers: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and "page" in entry and "xref" in entry:
            numbers.setdefault(f"page_{entry['page']}_image_{entry['xref']}", number)
    if numbers:
        return [
            numbers[name] if name in numbers else Rejected(Reason.LOST_IMAGE, f"no entry for {name[:100]!r}")
            for name in references
        ]
    if entries and len(entries) != len(references):
        fault = Rejected(Reason.LOST_IMAGE, f"{len(references)} images, {len(entries)} entries without page and xref")
        return [fault] * len(references)
    return list(range(len(references)))


def _frames(sample: TarSample, due: int, numbers: list[int], options: ReadOptions) -> Mapping[int, ImageSource]:
    """The frames of these numbers, of `due` that there should be, or why there are none. Others are not looked at."""
    member = sample.members.get("tiff") or sample.members.get("tif")
    try:
        if member is None:
            raise Rejected(Reason.LOST_IMAGE, "no .tiff member")
        links = tiff.links(member.data)
        if len(links) != due:
            raise Rejected(Reason.LOST_IMAGE, f"{len(links)} frames for {due} images")
    except Rejected as fault:
        return dict.fromkeys(numbers, fault)
    found = tiff.frames(member.data, [links[number] for number in numbers], options.limits)
    return dict(zip(numbers, found, strict=True))


SOURCE = SourceReader("mint-pdf", read, (".tar",))
