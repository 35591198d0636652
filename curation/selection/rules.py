"""The rules by which rows of DataComp's metadata are chosen, and the columns that each looks at.

DataComp's own baselines are sets of such rules. "Basic filtering": languages [en], min_words 3, min_characters 6,
min_side 200, max_aspect 3 (its language is fastText's). "CLIP score, top 30 %": top_fraction 0.3, by L/14.
"""

from typing import Literal

import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from schemas.output_set.options import Options

UID, URL, TEXT, WIDTH, HEIGHT = "uid", "url", "text", "original_width", "original_height"
SCORES = {"clip_b32": "clip_b32_similarity_score", "clip_l14": "clip_l14_similarity_score"}

Kind = Literal["text", "number"]
Score = Literal["clip_b32", "clip_l14"]

_BOUNDS = [(f"min_{what}", f"max_{what}") for what in ("width", "height", "characters", "words")]


class SelectionRules(Options):
    """Which rows stay. None, or no language, switches a rule off, as all are: each leaves out what others want."""

    min_clip_b32: float | None = Field(None, ge=-1, le=1, description="cosine of image and caption, by CLIP's B/32")
    min_clip_l14: float | None = Field(None, ge=-1, le=1, description="the same by L/14, the better judge")
    top_fraction: float | None = Field(
        None, gt=0, le=1, description="of all rows of the input that have a score, those with the highest; ties stay"
    )
    top_by: Score = Field("clip_l14", description="that score; DataComp's best baseline goes by this one")
    min_width: PositiveInt | None = Field(None, description="pixels of the image on the web, before any download")
    max_width: PositiveInt | None = Field(None, description="pixels; huge images cost downloads and are made small")
    min_height: PositiveInt | None = None
    max_height: PositiveInt | None = None
    min_side: PositiveInt | None = Field(None, description="pixels of the shorter side")
    max_aspect: float | None = Field(None, ge=1, description="longer over shorter side: banners, rulers, borders")
    min_characters: NonNegativeInt | None = Field(None, description="code points of the caption; none is an empty one")
    max_characters: NonNegativeInt | None = Field(None, description="beyond some thousand lie dumps of whole pages")
    min_words: NonNegativeInt | None = Field(None, description="runs of what is no white space; one or two are a name")
    max_words: NonNegativeInt | None = None
    languages: list[str] = Field([], description="ISO 639 codes that the caption's may be, as py3langid finds it")

    @field_validator("languages")
    @classmethod
    def _in_small_letters(cls, codes: list[str]) -> list[str]:
        return [code.lower() for code in codes]

    @model_validator(mode="after")
    def _check_bounds(self) -> "SelectionRules":
        for least, most in _BOUNDS:
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} is {low}, {most} only {high}")
        return self

    @property
    def top_column(self) -> str:
        """The column that `top_fraction` goes by."""
        return SCORES[self.top_by]

    def columns(self) -> dict[str, Kind]:
        """What the rules look at. Without a uid or an address a row is of no use, whatever the rules."""
        found: dict[str, Kind] = {UID: "text", URL: "text"}
        if self.languages or self._has("min_characters", "max_characters", "min_words", "max_words"):
            found[TEXT] = "text"
        if self._has("min_width", "max_width", "min_side", "max_aspect"):
            found[WIDTH] = "number"
        if self._has("min_height", "max_height", "min_side", "max_aspect"):
            found[HEIGHT] = "number"
        for name, column in SCORES.items():
            if self._has(f"min_{name}") or (self._has("top_fraction") and self.top_by == name):
                found[column] = "number"
        return found

    def _has(self, *names: str) -> bool:
        return any(getattr(self, name) is not None for name in names)


def holds(found: pa.DataType, kind: Kind) -> bool:
    """Whether a column of this type can be looked at by rules on such values."""
    if pa.types.is_dictionary(found):
        return kind == "text" and holds(found.value_type, kind)
    of_kind = {
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "number": (pa.types.is_integer, pa.types.is_floating),
    }
    return any(is_one(found) for is_one in of_kind[kind])
