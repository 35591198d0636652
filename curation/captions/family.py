"""Defines how a family of captions is declared: its annotations, wordings, layout and how its sets are read back.

A family's file holds one `CaptionFamily`. Those that ship are listed in `curation.captions.families`; users add others
by an installed entry point of the group `shardloom.captions`, or by `--trust-code package.module:Name`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from curation.captions.atoms import RawCaption
from curation.captions.template_file import CaptionTemplate
from curation.engines.captions.prompts import PromptTemplate
from schemas.layouts import blip3_ocr
from schemas.output_set.options import Globs, Options, PathOrName, RecipePath
from schemas.records.caption import Caption
from schemas.records.quarantine import Reason

Columns = Mapping[str, pa.Array | pa.ChunkedArray]


class CaptionOptions(Options):
    """Holds the options that every family has. A family's own model narrows the granularities and adds options."""

    granularities: list[int] = Field(min_length=1)
    raw_caption: RawCaption = "both"


class TemplateOptions(CaptionOptions):
    """Holds the options of a family whose captions can be rendered with a user's own template."""

    template: PathOrName | None = Field(
        None,
        description="template file (YAML), or the name of one that ships; default: figure",
        exclude_if=lambda template: template is None,  # recipes that were stored before have no such key
    )


class WrittenCaptionOptions(CaptionOptions):
    """Holds the options of a family that takes captions which models wrote, and may clean them.

    What a set was rendered with before an option existed keeps its hash: options at their default are not stored.
    """

    caption_name: str | None = Field(
        None,
        description="name of a caption that a model wrote in the same pass, as the set's recipe calls it",
        exclude_if=lambda name: name is None,
    )
    drop_contradicted: bool = Field(
        False,
        description="drop the sentences of these captions that the annotations contradict",
        exclude_if=lambda drops: not drops,
    )
    leak_phrases: RecipePath | None = Field(
        None,
        description="text file with a phrase in each line: drop the sentences that have one",
        exclude_if=lambda path: path is None,
    )
    leak_prompts: Globs = Field(
        [],
        description="the prompts of these captions: drop the sentences that repeat six words of one",
        exclude_if=lambda paths: not paths,
    )


class PromptOptions(WrittenCaptionOptions):
    """Holds the options of a family that asks for its captions by a prompt."""

    prompt: RecipePath | None = Field(
        None, description="a text file with fields in braces, as for annotate; default: a plain question"
    )


class BaseCaptionOptions(WrittenCaptionOptions):
    """Holds the options of a family that can write into captions of the same pass, or of another data set."""

    caption_from: RecipePath | None = Field(
        None,
        description="glob of Parquet files with uid and a caption to write the places into; default: the alt text",
    )
    caption_column: str | None = Field(None, description="column of these files; default: caption, else cogvlm_caption")


Renderer = Callable[[pa.Table, Any, pa.StringArray | None], Columns]
"""Renders captions, as `CaptionFamily` describes."""


@dataclass(frozen=True, slots=True)
class ItemThreshold:
    """Defines when an image has enough items to caption. An image with fewer is left out."""

    items: str  # the name of what is counted, in messages: "lines"
    score: str  # the field of an item that holds its score
    min_score_option: str  # the option that holds the least score of an item that counts
    min_count_option: str  # the option that holds the least number of items that count
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionFamily:
    """Declares one family of captions.

    `render` gets three arguments: the annotations that have enough items (columns `uid`, `url`, `key`, `caption`,
    `sha256`, `width`, `height` and `columns`, as far as the set has them), without the items below the floor; the
    options; and the captions that models wrote, in the same pass or another data set, or None. It returns the columns
    of the layout beside `uid`, `url`, `key` and `sha256`. It must be a pure function of its arguments: a row has one
    caption for each granularity, first all without the raw caption, then all with it, as the options ask.
    """

    name: str
    column: str  # the annotation column that the captions describe; images on which its engine failed are left out
    columns: tuple[str, ...]  # all columns that are read, in the order in which the user names them to annotate
    granularities: range
    threshold: ItemThreshold | None  # None: the column holds no items that a score could leave out
    options: type[CaptionOptions]
    render: Renderer
    schema: Callable[[str, str], pa.Schema]
    """Makes the layout from the revision (a hash of the annotations) and the base caption's name.

    The name is `alt_text`, that of a caption of the pass, or a column of another set.
    """
    caption_column: str = "captions"
    """The column of the layout that holds the captions."""
    parse: Callable[[Any], list[Caption]] = blip3_ocr.parse_captions
    """Parses this column in one row. Raises `ValueError`, which says what is wrong with it."""
    ingested_as: str | None = None
    """The source by which `ingest` reads the layout, where `shard` cannot join it with images."""
    needs_url: bool = False
    """Whether an image without a URL is left out, since the layout names images by their URLs."""
    source: str  # the source name of its training shards in mixtures, unless their recipe gives another
    item_openings: str = ""
    """The characters with which an item of the list `captions` may begin in a published set, which names no family."""

    use_template: Callable[[CaptionTemplate], Renderer] | None = None
    """Returns what renders with a template; None if the family has no templates. Its options are `TemplateOptions`."""
    use_prompt: Callable[[PromptTemplate], Renderer] | None = None
    """Returns what renders with a prompt; None if the family asks nothing. Its options are `PromptOptions`."""

    def __post_init__(self) -> None:
        """Raises `ValueError` if the parts do not fit together."""
        enough = self.threshold
        for option in (enough.min_score_option, enough.min_count_option) if enough else ():
            if option not in self.options.model_fields:
                raise ValueError(f"{self.name}: {self.options.__name__} has no option {option}")
        if self.column not in self.columns:
            raise ValueError(f"{self.name}: {self.column} is not among the columns {', '.join(self.columns)}")

    @property
    def fills_captions(self) -> bool:
        """Returns whether the family writes into captions: into the alt text, unless it is given other captions."""
        return issubclass(self.options, BaseCaptionOptions)

    @property
    def has_training_form(self) -> bool:
        """Returns whether `captions` are stored in the form of training shards, the JSON of OCR captions."""
        return self.parse is blip3_ocr.parse_captions
