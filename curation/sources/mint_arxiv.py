"""Reads MINT-1T ArXiv, whose layout is that of MINT-1T PDF as far as is known (docs/formats.md §5).

Of its JSON only `texts` is certain to exist. A paper without figures has no .tiff member. `texts` may be null, which
gives an empty document. Images without a page and an xref are matched with the frames in order.
"""

from curation.sources.mint_pdf import read
from curation.sources.reader import SourceReader

__all__ = ["read"]


SOURCE = SourceReader("mint-arxiv", read, (".tar",))
