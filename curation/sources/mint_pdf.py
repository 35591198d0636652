"""MINT-1T PDF: WebDataset, `{key}.json` and `{key}.tiff` with a frame for each image (docs/formats.md §5).

In the json, `texts` and `images` have one entry a part, one of them null; an image is `page_{page}_image_{xref}`, and
frame i is the i-th of them. What `image_metadata` says of it is found by its `page` and `xref`, and its size is checked
(`formats.frame_order`). Where the frames are not as many as the images, nothing tells which frame is whose, and the
images are lost; so are those of a document without a tiff. The text stays.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from curation.sources.formats import tiff
from curation.sources.formats.fields import as_json, interleaved, json_object, optional_list, optional_text, others
from curation.sources.formats.frame_order import frames_of, named_entries
from curation.sources.formats.remarks import text_remark
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
    texts, references = (optional_list(content.get(name), name) for name in ("texts", "images"))
    told = content.get("image_metadata")
    entries = told if isinstance(told, list) else []
    names = [optional_text(reference, f"part {place}") for place, reference in enumerate(references)]
    shown = iter(_images(sample, [name for name in names if name is not None], entries, options))
    images = [None if name is None else next(shown) for name in names]
    url, no_url = text_remark(content.get("url"), "url")
    kept = others(content, _TOLD) | no_url | ({} if isinstance(told, list | None) else {"image_metadata": told})
    return interleaved(sample.key.rpartition("/")[2], url, texts, images, kept)


def _images(sample: TarSample, names: list[str], entries: list[Any], options: ReadOptions) -> Iterator[DraftImage]:
    """The image that each name stands for."""
    by_name = named_entries(entries)
    told: list[Any] = [by_name.get(name) for name in names]
    if not by_name and len(entries) == len(names):  # a paper's: it has other names, and no `page` and `xref`
        told = entries
    for name, source, about in zip(names, _sources(sample, names, entries, options), told, strict=True):
        yield DraftImage(source, metadata=as_json({"reference": name} | (about if isinstance(about, dict) else {})))


def _sources(sample: TarSample, names: list[str], entries: list[Any], options: ReadOptions) -> list[ImageSource]:
    """The frame of each name, as a file, or why there is none. Frames that nothing names are not read."""
    member = sample.members.get("tiff") or sample.members.get("tif")
    try:
        if member is None:
            raise Rejected(Reason.LOST_IMAGE, "no .tiff member")
        data, links = member.data, tiff.links(member.data)
    except Rejected as fault:
        return [fault] * len(names)
    by_name = named_entries(entries)
    if not by_name and len(names) not in (len(links), len(entries) or len(names)):
        what = f"{len(names)} images, {len(entries)} entries without page and xref"
        return [Rejected(Reason.LOST_IMAGE, what)] * len(names)
    size_of = cache(lambda number: tiff.size(data, links[number], options.limits))
    numbers = frames_of(names, by_name, len(links), size_of)
    wanted = sorted({number for number in numbers if isinstance(number, int)})
    found = dict(zip(wanted, tiff.frames(data, [links[n] for n in wanted], options.limits), strict=True))
    return [found[number] if isinstance(number, int) else number for number in numbers]


SOURCE = SourceReader("mint-pdf", read, (".tar",))
