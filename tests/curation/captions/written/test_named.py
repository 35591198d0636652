"""The caption of one name in each row, whatever else the row has."""

import pyarrow as pa

from curation.captions.written.named import take_captions
from schemas.records.model_caption import CAPTIONS_COLUMN, name_caption
from tests.pipelines.support.captions import written


def test_one_caption_of_each_row() -> None:
    captions = [
        [name_caption("dense", written("A")), name_caption("long", written("B"))],
        None,
        [],
        [name_caption("long", written("C"))],
        [name_caption("long", None), name_caption("dense", written("D", "truncated"))],
    ]
    column = pa.array(captions, CAPTIONS_COLUMN.type)
    for taken in (column, pa.chunked_array([column[:2], column[2:]])):
        texts = [value and (value["text"], value["status"]) for value in take_captions(taken, "dense").to_pylist()]
        assert texts == [("A", "ok"), None, None, None, ("D", "truncated")]
    assert take_captions(column[3:], "long").field("text").to_pylist() == ["C", ""]
    assert take_captions(column, "short").null_count == 5
