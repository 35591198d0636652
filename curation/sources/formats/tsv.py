"""Parses the tab-separated caption sets CC3M and CC12M, which differ in the order of their two columns.

The layout is described in docs/formats.md §7. Neither set has a header, and reading one as the other gives URLs for
captions. So `read_line` rejects a line whose caption is a URL, and `check_column_order` refuses a file that begins with
such lines: the user must say which set it is.
"""

from collections.abc import Sequence

from curation.sources.formats.fields import malformed_row_error, read_caption_image, read_caption_text
from schemas.errors import UsageError
from schemas.records.document import ParsedCaptionedImage
from schemas.web_address import is_web_address

MAX_LINE = 1 << 20  # characters; the longest captions have a few thousand


def read_line(line: str, url: int, caption: int) -> ParsedCaptionedImage:
    """Returns the captioned image of one line. `url` and `caption` are column numbers, 0 or 1. Raises `Rejected`."""
    if len(line) > MAX_LINE:
        raise malformed_row_error(f"a line of {len(line)} characters; at most {MAX_LINE} are read")
    columns = line.lstrip("\ufeff").rstrip("\r\n").split("\t")  # joined files have byte order marks inside
    if len(columns) != 2:
        raise malformed_row_error(f"{len(columns)} columns, not 2")
    if _is_swapped(columns, url, caption):
        raise malformed_row_error("the columns are swapped: the caption is a URL")
    image = read_caption_image(columns[url].strip())
    return ParsedCaptionedImage(uid=None, url=image.url, image=image, text=read_caption_text(columns[caption]))


def check_column_order(lines: Sequence[str], url: int, caption: int, other: str) -> None:
    """Raises `UsageError` if most of a file's first lines have their columns in the order of the set named `other`.

    The caller adds the file's name to the error.
    """
    found = [line.rstrip("\r\n").split("\t") for line in lines if "\t" in line]
    swapped = sum(_is_swapped(columns, url, caption) for columns in found)
    if swapped * 2 > len(found):
        raise UsageError(f"{swapped} of its first {len(lines)} lines have a URL for the caption: is it {other}?")


def _is_swapped(columns: list[str], url: int, caption: int) -> bool:
    return len(columns) == 2 and is_web_address(columns[caption].strip()) and not is_web_address(columns[url].strip())
