"""Takes the caption of one name from the column `captions` of an annotation set."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.lists import combine_chunks


def take_captions(captions: pa.ListArray | pa.ChunkedArray, name: str) -> pa.StructArray:
    """Returns the caption of this name in each row, null where there is none.

    `captions` has the type of `schemas.records.model_caption.CAPTIONS_COLUMN`.
    """
    captions = combine_chunks(captions)
    is_named = pc.equal(pc.struct_field(captions.flatten(), "name"), name)
    places = np.full(len(captions), -1)
    rows = pc.list_parent_indices(captions).filter(is_named)
    places[rows.to_numpy()] = np.arange(len(rows))
    return captions.flatten().filter(is_named).take(pa.array(places, mask=places < 0))
