"""Reads DataComp with its own captions, from tar shards as img2dataset writes them (docs/formats.md §4).

Any other set that img2dataset has downloaded has the same layout. The reader keeps a sample without a caption, with an
empty one. It leaves out a sample without an image, and one that has lost a member.
"""

from curation.sources.formats.fields import as_json, others
from curation.sources.reader import SourceReader, without_options
from schemas.layouts.datacomp import read_sample
from schemas.records.document import CaptionDraft, DraftImage
from schemas.tar.reader import TarSample

_KNOWN = ("uid", "url", "caption", "key", "status", "error_message", "width", "height", "exif")


def read(sample: TarSample) -> CaptionDraft:
    """Returns the captioned image of one sample, with the image as bytes. Raises `Rejected`."""
    found = read_sample(sample)
    return CaptionDraft(
        uid=found.uid,
        url=found.url,
        image=DraftImage(found.image.data, found.url),
        text=found.caption,
        alt_text=found.caption,
        metadata=as_json(others(found.metadata, _KNOWN)),
    )


SOURCE = SourceReader("datacomp", without_options(read), (".tar",), is_captions=True)
