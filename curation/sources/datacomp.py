"""Reads DataComp with its own captions, from tar shards as img2dataset writes them (docs/formats.md §4).

Any other set that img2dataset has downloaded has the same layout. The reader keeps a sample without a caption, with an
empty one. It leaves out a sample without an image, and one that has lost a member.
"""

from curation.sources.formats.fields import dump_metadata, select_other_fields
from curation.sources.reader import SourceReader, ignore_options
from schemas.layouts.datacomp import read_sample
from schemas.records.document import ParsedCaptionedImage, ParsedImage
from schemas.tar.reader import TarSample

_KNOWN = ("uid", "url", "caption", "key", "status", "error_message", "width", "height", "exif")


def read(sample: TarSample) -> ParsedCaptionedImage:
    """Returns the captioned image of one sample, with the image as bytes. Raises `Rejected`."""
    found = read_sample(sample)
    return ParsedCaptionedImage(
        uid=found.uid,
        url=found.url,
        image=ParsedImage(found.image.data, found.url),
        text=found.caption,
        alt_text=found.caption,
        metadata=dump_metadata(select_other_fields(found.metadata, _KNOWN)),
        has_unreadable_metadata=found.has_unreadable_metadata,
    )


SOURCE = SourceReader("datacomp", ignore_options(read), (".tar",), is_captions=True)
