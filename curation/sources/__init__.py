"""Holds one reader for each published data set, in a file that describes the set's layout and its pitfalls.

A reader is a pure function of one item (a Parquet row as a dict, a tar sample, a line, or a JSON value). It returns the
parsed row (`ParsedDocument` or `ParsedCaptionedImage`), or raises `Rejected`, which leaves out this row and no other.
Readers open no files.
"""

from curation.registry import Registry
from curation.sources import (
    blip3,
    cc3m,
    cc12m,
    coco,
    datacomp,
    kale,
    llava,
    mint_arxiv,
    mint_html,
    mint_pdf,
    obelics,
    sbu,
    text,
    textcaps,
    visual_genome,
)
from curation.sources.instructions import (
    a_okvqa,
    ai2d,
    chartqa,
    clevr,
    docvqa,
    dvqa,
    gqa,
    ocr_vqa,
    okvqa,
    open_orca,
    orca_math,
    science_qa,
    sharegpt4v,
    textvqa,
    vizwiz,
    vqav2,
)
from curation.sources.options import ReadOptions
from curation.sources.reader import SourceReader

__all__ = ["SOURCES", "ReadOptions", "SourceReader"]

_SHIPPED = (
    mint_html.SOURCE,
    mint_pdf.SOURCE,
    mint_arxiv.SOURCE,
    obelics.SOURCE,
    kale.SOURCE,
    cc3m.SOURCE,
    cc12m.SOURCE,
    sbu.SOURCE,
    visual_genome.SOURCE,
    coco.SOURCE,
    textcaps.SOURCE,
    datacomp.SOURCE,
    blip3.OCR_SOURCE,
    blip3.GROUNDING_SOURCE,
    llava.SOURCE,
    sharegpt4v.SOURCE,
    textvqa.SOURCE,
    vizwiz.SOURCE,
    vqav2.SOURCE,
    okvqa.SOURCE,
    ocr_vqa.SOURCE,
    a_okvqa.SOURCE,
    gqa.SOURCE,
    docvqa.SOURCE,
    chartqa.SOURCE,
    dvqa.SOURCE,
    ai2d.SOURCE,
    clevr.SOURCE,
    science_qa.SOURCE,
    open_orca.SOURCE,
    orca_math.SOURCE,
    text.SOURCE,
)

SOURCES = Registry("source", SourceReader, "shardloom.sources", lambda: _SHIPPED)
"""The sources by the names that `ingest` accepts, in the order of its help text."""
