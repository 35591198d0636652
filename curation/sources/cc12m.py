"""CC12M (Conceptual 12M): TSV, URL and caption, in this order, no header (docs/formats.md §7).

A header line as img2dataset's guide puts it in front is passed over. See `curation.sources.formats.tsv` for what
becomes of a file with the columns of CC3M.
"""

from collections.abc import Sequence

from curation.sources.formats import tsv
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import CaptionDraft

HEADER = "url\tcaption"

_URL, _CAPTION = 0, 1


def read(line: str) -> CaptionDraft:
    """The captioned image of one line."""
    return tsv.read(line, _URL, _CAPTION)


def check(lines: Sequence[str]) -> None:
    """Refuses a file that begins with these lines, if they are CC3M's. UsageError."""
    tsv.check(lines, _URL, _CAPTION, "cc3m")


SOURCE = SourceReader("cc12m", without_options(read), (".tsv",), is_captions=True, header=HEADER, check=check)
