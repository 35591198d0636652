"""MINT-1T ArXiv: laid out as MINT-1T PDF is (docs/formats.md §5), as far as is known.

Of its json only `texts` is known for sure. A paper without figures has no tiff; `texts` may be null, which leaves an
empty document. Images without a page and an xref are counted off against the frames.
"""

from curation.sources.mint_pdf import read
from curation.sources.reader import SourceReader

__all__ = ["read"]


SOURCE = SourceReader("mint-arxiv", read, (".tar",))
