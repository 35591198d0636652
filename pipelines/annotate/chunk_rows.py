"""Gives a pool access to the rows of a chunk, and names ranges of them."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from curation.images.decode import RgbImage
from pipelines.annotate.outcomes import PIXELS
from pipelines.cluster.attempts import Range
from schemas.records.tag import TAGS_COLUMN


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Names a range of a chunk's samples that are worked on together."""

    chunk: str
    range: Range
    is_isolating: bool  # a worker has died on this chunk: the ledger must know the range that the next one works on

    def narrow_to(self, place: int) -> "ChunkRange":
        """Returns the range of one sample alone."""
        return replace(self, range=(place, place + 1))


class ChunkRows:
    """Gives a pool access to the rows of a chunk."""

    def __init__(self, table: pa.Table, repeated: set[str]) -> None:
        self.table, self.repeated = table, repeated
        self.keys: list[str] = table["key"].to_pylist()
        self.captions: list[str] = table["caption"].to_pylist()
        self.is_good = [reason is None for reason in table["reason"].to_pylist()]

    def get_pixels(self, place: int) -> RgbImage:
        """Returns the image that an earlier pool decoded, height x width x 3 in uint8, read-only and without a copy."""
        width, height = (self.table[name][place].as_py() for name in ("width", "height"))
        pixels = np.frombuffer(self.table[PIXELS.name][place].as_buffer(), np.uint8).reshape(height, width, 3)
        pixels.flags.writeable = False  # it is shared memory, which the next engine reads too
        return pixels

    def get_tag_names(self, place: int) -> list[str]:
        """Returns the names of the image's tags, each once, in their order."""
        return list(dict.fromkeys(tag["name"] for tag in self.table[TAGS_COLUMN.name][place].as_py()))
