"""Reads MINT-1T PDF from WebDataset shards: `{key}.json`, and `{key}.tiff` with one frame per image.

The layout is described in docs/formats.md §5. In the JSON, `texts` and `images` have one entry per part, of which one
is null; an image is named `page_{page}_image_{xref}`, and frame i is the i-th image. The reader finds an image's entry
in `image_metadata` by `page` and `xref`, and checks the frame's size against it (`formats.frame_order`). If the number
of frames differs from the number of images, the images are lost, because the frames cannot be assigned; so are the
images of a document without a TIFF. The text is kept.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from curation.sources.formats import tiff
from curation.sources.formats.fields import (
    dump_metadata,
    interleave_parts,
    parse_json_object,
    read_optional_list,
    read_optional_text,
    select_other_fields,
)
from curation.sources.formats.frame_order import index_entries_by_name, match_frames
from curation.sources.formats.lenient_fields import read_text_or_keep
from curation.sources.options import ReadOptions
from curation.sources.reader import SourceReader
from schemas.records.document import ImageSource, ParsedDocument, ParsedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import TarSample

_KNOWN = ("texts", "images", "image_metadata", "url")


def read(sample: TarSample, options: ReadOptions) -> ParsedDocument:
    """Returns the document of one sample, with its images as bytes. Raises `Rejected`."""
    if sample.fault is not None:
        raise sample.fault
    if "json" not in sample.members:
        raise Rejected(Reason.MISSING_METADATA, "no .json member")
    content = parse_json_object(sample.members["json"].data, "the .json member")
    texts, references = (read_optional_list(content.get(name), name) for name in ("texts", "images"))
    listed = content.get("image_metadata")
    entries = listed if isinstance(listed, list) else []
    names = [read_optional_text(reference, f"part {place}") for place, reference in enumerate(references)]
    shown = iter(_read_images(sample, [name for name in names if name is not None], entries, options))
    images = [None if name is None else next(shown) for name in names]
    url, no_url = read_text_or_keep(content.get("url"), "url")
    kept = (
        select_other_fields(content, _KNOWN)
        | no_url
        | ({} if isinstance(listed, list | None) else {"image_metadata": listed})
    )
    return interleave_parts(sample.key.rpartition("/")[2], url, texts, images, kept)


def _read_images(
    sample: TarSample, names: list[str], entries: list[Any], options: ReadOptions
) -> Iterator[ParsedImage]:
    """Yields the image of each name."""
    by_name = index_entries_by_name(entries)
    listed: list[Any] = [by_name.get(name) for name in names]
    if not by_name and len(entries) == len(names):  # a paper: its entries have no `page` and `xref`
        listed = entries
    for name, source, about in zip(names, _read_frames(sample, names, entries, options), listed, strict=True):
        yield ParsedImage(
            source, metadata=dump_metadata({"reference": name} | (about if isinstance(about, dict) else {}))
        )


def _read_frames(sample: TarSample, names: list[str], entries: list[Any], options: ReadOptions) -> list[ImageSource]:
    """Returns the frame of each name as an image file, or why it is lost. Reads no frame without a name."""
    member = sample.members.get("tiff") or sample.members.get("tif")
    try:
        if member is None:
            raise Rejected(Reason.LOST_IMAGE, "no .tiff member")
        data, links = member.data, tiff.find_frame_links(member.data)
    except Rejected as fault:
        return [fault] * len(names)
    by_name = index_entries_by_name(entries)
    if not by_name and len(names) not in (len(links), len(entries) or len(names)):
        what = f"{len(names)} images, {len(entries)} entries without page and xref"
        return [Rejected(Reason.LOST_IMAGE, what)] * len(names)
    size_of = cache(lambda number: tiff.read_frame_size(data, links[number], options.limits))
    numbers = match_frames(names, by_name, len(links), size_of)
    wanted = sorted({number for number in numbers if isinstance(number, int)})
    found = dict(zip(wanted, tiff.extract_frames(data, [links[n] for n in wanted], options.limits), strict=True))
    return [found[number] if isinstance(number, int) else number for number in numbers]


SOURCE = SourceReader("mint-pdf", read, (".tar",))
