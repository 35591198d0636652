"""Reads CC3M (Conceptual Captions) from TSV: caption and URL, in this order, no header (docs/formats.md §7).

The reader skips the header line that img2dataset's guide adds. `curation.sources.formats.tsv` says how it treats a file
whose columns are in the order of CC12M.
"""

from collections.abc import Sequence

from curation.sources.formats import tsv
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedCaptionedImage

HEADER = "caption\turl"

_CAPTION, _URL = 0, 1


def read(line: str) -> ParsedCaptionedImage:
    """Returns the captioned image of one line. Raises `Rejected`."""
    return tsv.read_line(line, _URL, _CAPTION)


def check_first_lines(lines: Sequence[str]) -> None:
    """Raises `UsageError` if the first lines of a file have the columns in the order of CC12M."""
    tsv.check_column_order(lines, _URL, _CAPTION, "cc12m")


SOURCE = SourceReader("cc3m", ignore_options(read), (".tsv",), is_captions=True, header=HEADER, check=check_first_lines)
