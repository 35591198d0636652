"""CC3M (Conceptual Captions): TSV, caption and URL, in this order, no header (docs/formats.md §7).

The header line that img2dataset's guide puts in front of it is passed over. See `curation.sources.formats.tsv` for what
becomes of a file with the columns of CC12M.
"""

from collections.abc import Sequence

from curation.sources.formats import tsv
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import CaptionDraft

HEADER = "caption\turl"

_CAPTION, _URL = 0, 1


def read(line: str) -> CaptionDraft:
    """The captioned image of one line."""
    return tsv.read(line, _URL, _CAPTION)


def check(lines: Sequence[str]) -> None:
    """Refuses a file that begins with these lines, if they are CC12M's. UsageError."""
    tsv.check(lines, _URL, _CAPTION, "cc12m")


SOURCE = SourceReader("cc3m", without_options(read), (".tsv",), is_captions=True, header=HEADER, check=check)
