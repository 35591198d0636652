"""What a family of captions declares of itself: what it is made of, how it is worded, how its sets are read back.

A family's file holds one `CaptionFamily`. Those that ship are listed in `curation.captions.families`; another one comes
by an installed entry point of the group `shardloom.captions`, or by `--trust-code package.module:Name`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from curation.captions.atoms import RawCaption
from schemas.layouts import blip3_ocr
from schemas.output_set.options import Options
from schemas.records.caption import Caption
from schemas.records.quarantine import Reason

Columns = Mapping[str, pa.Array | pa.ChunkedArray]


class CaptionOptions(Options):
    """The options that every family has. A family's own model narrows the granularities, and adds to them."""

    granularities: list[int] = Field(min_length=1)
    raw_caption: RawCaption = "both"


class BaseCaptionOptions(CaptionOptions):
    """The options of a family that can write into the captions of another data set."""

    caption_from: str | None = Field(
        None,
        description="glob of Parquet files with uid and a caption to put the places into; default: the alt text. "
        "Every annotation file scans all of these",
    )
    caption_column: str | None = Field(None, description="of these files; default: caption, else cogvlm_caption")


@dataclass(frozen=True, slots=True)
class Enough:
    """When an image has enough of what the captions tell of. One with less is left out."""

    items: str  # what is counted, for people: "lines"
    score: str  # the field of an item that says how sure it is
    floor: str  # the option that says how sure it must be to count
    least: str  # the option that says how many must count
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionFamily:
    """One family of captions.

    `render` gets annotations with enough in them (`uid`, `url`, `key`, `caption`, `sha256` and `columns`, as far as the
    set has these), without the items below the floor; the options; and the captions of another data set, or None. It
    returns `captions`, `metadata` and what else the layout has beside `uid`, `url`, `key` and `sha256`. It must be a
    pure function of them: a row has one caption for each granularity without the raw caption, then with it, as asked.
    """

    name: str
    column: str  # of the annotations: what the captions tell of. Its engine's failures leave an image out
    columns: tuple[str, ...]  # all that are read, in the order in which `shardloom annotate` is asked for them
    granularities: range
    enough: Enough
    options: type[CaptionOptions]
    render: Callable[[pa.Table, Any, pa.StringArray | None], Columns]
    schema: Callable[[str, str], pa.Schema]
    """The layout of revision (a hash of the annotations) and base caption (`alt_text`, or another set's column)."""
    parse: Callable[[str], list[Caption]] = blip3_ocr.parse_captions
    """Reads `captions` of one row back. ValueError says what is wrong with it."""
    source: str  # the name of its training shards in mixtures, unless their recipe says another
    item_openings: str = ""
    """The characters that an item of the list `captions` may begin with in a published set, which says no family."""

    def __post_init__(self) -> None:
        """Raises `ValueError` when the parts do not fit together."""
        for option in (self.enough.floor, self.enough.least):
            if option not in self.options.model_fields:
                raise ValueError(f"{self.name}: {self.options.__name__} has no option {option}")
        if self.column not in self.columns:
            raise ValueError(f"{self.name}: {self.column} is not among the columns {', '.join(self.columns)}")

    @property
    def fills_captions(self) -> bool:
        """Whether the family writes into captions: into the alt text, unless it is given others."""
        return issubclass(self.options, BaseCaptionOptions)

    @property
    def has_training_form(self) -> bool:
        """Whether `captions` are stored as training shards have them: the JSON of OCR captions."""
        return self.parse is blip3_ocr.parse_captions
