"""A source of a user's own, in one file: each line is a name, a tab and a text.

shardloom ingest lines --input 'texts/*.tsv' --output training --trust-code lines_source:LINES
"""

from curation.sources import ReadOptions, SourceReader
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Reason, Rejected


def read(line: str, _: ReadOptions) -> ParsedDocument:
    """Returns the document of one line. Raises `Rejected` for a line without a tab."""
    name, tab, text = line.partition("\t")
    if not tab:
        raise Rejected(Reason.MALFORMED_ROW, "there is no tab")
    return ParsedDocument(name, None, (text,))


LINES = SourceReader("lines", read, (".tsv",))
