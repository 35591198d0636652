"""Tab-separated caption sets: CC3M and CC12M, alike but for the order of their two columns (docs/formats.md §7).

Neither has a header, and read as the other each would give URLs for captions. So a line whose caption is a URL is left
out, and a file that begins with such lines is refused: which set it is should be said, not guessed.
"""

from collections.abc import Sequence

from curation.sources.formats.fields import caption_image, caption_text, malformed
from schemas.errors import UsageError
from schemas.records.document import CaptionDraft
from schemas.web_address import is_web_address

MAX_LINE = 1 << 20  # characters; the longest captions have some thousand


def read(line: str, url: int, caption: int) -> CaptionDraft:
    """The captioned image of one line, from the columns of these numbers."""
    if len(line) > MAX_LINE:
        raise malformed(f"a line of {len(line)} characters; at most {MAX_LINE} are read")
    columns = line.lstrip("\ufeff").rstrip("\r\n").split("\t")  # files that were joined have their marks inside
    if len(columns) != 2:
        raise malformed(f"{len(columns)} columns, not 2")
    if _is_swapped(columns, url, caption):
        raise malformed("the columns are swapped: the caption is a URL")
    image = caption_image(columns[url].strip())
    return CaptionDraft(uid=None, url=image.url, image=image, text=caption_text(columns[caption]))


def check(lines: Sequence[str], url: int, caption: int, other: str) -> None:
    """Refuses a file that begins with these lines when they have their columns as the set named `other` has them.

    UsageError; the caller adds which file it is.
    """
    found = [line.rstrip("\r\n").split("\t") for line in lines if "\t" in line]
    swapped = sum(_is_swapped(columns, url, caption) for columns in found)
    if swapped * 2 > len(found):
        raise UsageError(f"{swapped} of its first {len(lines)} lines have a URL for the caption: is it {other}?")


def _is_swapped(columns: list[str], url: int, caption: int) -> bool:
    return len(columns) == 2 and is_web_address(columns[caption].strip()) and not is_web_address(columns[url].strip())
