"""Defines the options of `view`."""

import time

from pydantic import Field, PositiveInt

from schemas.output_set.options import Options


class ViewOptions(Options):
    """Holds what a page shows, and how large it may get."""

    # sixty pictures are looked through in a minute, and make a page of four megabytes
    sample: PositiveInt = Field(60, le=2000, description="samples to show, spread over the set")
    key: str | None = Field(None, description="show this one: a key, a uid, or SHARD/KEY")
    where: str | None = Field(None, description="show samples for which this SQL condition on their columns is true")
    images: list[str] = Field([], description="the image shards, if they are not where the set was made from them")
    truth: str | None = Field(None, description="show what this ground truth, as `evaluate` reads it, has besides")
    index: str | None = Field(None, description="the uid of each file in the ground truth, as `evaluate` reads it")
    # what a browser on a phone still opens, and a mail still takes
    max_megabytes: float = Field(15, gt=0, le=500, description="the page's size; pictures get smaller to fit")
    # whoever asks for a page waits for it; who has run a command did not ask
    deadline: float | None = Field(None, description="the `time.monotonic()` at which reading ends; default: never")

    @property
    def max_bytes(self) -> int:
        """Returns the page's size in bytes."""
        return int(self.max_megabytes * (1 << 20))

    @property
    def is_late(self) -> bool:
        """Returns whether the time for reading is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline
