"""Gives a pool access to the rows of a chunk, and names ranges of them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from curation.engines.captions.prompts import PromptTemplate
from curation.engines.kinds import KINDS, CaptionRequest
from curation.engines.stages import make_caption_stage
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

    def has_tags(self, place: int) -> bool:
        """Returns whether the tag engine has worked on the image; it may have found none."""
        return bool(self.table[TAGS_COLUMN.name][place].is_valid)

    def find_missing_input(self, place: int, prompt: PromptTemplate) -> str | None:
        """Returns the first thing that the prompt names and the image lacks, because its engine failed or refused."""
        for name in prompt.list_inputs():
            value = self.table[_get_column(name)][place].as_py()
            if value is None or (name not in KINDS and not value["text"]):
                return name
        return None

    def build_requests(
        self, places: Sequence[int], images: Sequence[RgbImage], prompt: PromptTemplate
    ) -> list[CaptionRequest]:
        """Returns the requests for captions of these images, named by their keys; `images` may be empty."""
        return [
            CaptionRequest(self.keys[place], prompt.fill(self._collect_inputs(place, prompt)), image)
            for place, image in itertools.zip_longest(places, images)
        ]

    def _collect_inputs(self, place: int, prompt: PromptTemplate) -> dict[str, object]:
        values = {name: self.table[_get_column(name)][place].as_py() for name in prompt.list_inputs()}
        texts = {name: value if name in KINDS else value["text"] for name, value in values.items()}
        return {"caption": self.captions[place]} | texts


def _get_column(name: str) -> str:
    """Returns the column of what a prompt reads: a kind of engine, or a caption by its name."""
    return name if name in KINDS else make_caption_stage(name)
