"""Defines the rules that choose rows of DataComp's metadata, and the columns that each rule reads.

DataComp's own baselines are sets of such rules. "Basic filtering": languages [en], min_words 3, min_characters 6,
min_side 200, max_aspect 3 (with fastText for the language). "CLIP score, top 30 %": top_fraction 0.3, by L/14.
"""

from typing import Literal

import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from schemas.output_set.options import Options

UID, URL, TEXT, WIDTH, HEIGHT = "uid", "url", "text", "original_width", "original_height"
SCORES = {"clip_b32": "clip_b32_similarity_score", "clip_l14": "clip_l14_similarity_score"}

ColumnKind = Literal["text", "number"]
Score = Literal["clip_b32", "clip_l14"]

_BOUNDS = [(f"min_{what}", f"max_{what}") for what in ("width", "height", "characters", "words")]


class SelectionRules(Options):
    """Says which rows are kept. None, or an empty list of languages, switches a rule off; by default all are off."""

    min_clip_b32: float | None = Field(None, ge=-1, le=1, description="cosine of image and caption by CLIP B/32")
    min_clip_l14: float | None = Field(None, ge=-1, le=1, description="the same by CLIP L/14, which is more accurate")
    top_fraction: float | None = Field(
        None, gt=0, le=1, description="keep this share of the scored input rows, by highest score; ties are kept"
    )
    top_by: Score = Field("clip_l14", description="the score of top_fraction; DataComp's best baseline uses clip_l14")
    min_width: PositiveInt | None = Field(None, description="pixels of the image on the web, before any download")
    max_width: PositiveInt | None = Field(None, description="pixels; huge images cost downloads and are shrunk")
    min_height: PositiveInt | None = None
    max_height: PositiveInt | None = None
    min_side: PositiveInt | None = Field(None, description="pixels of the shorter side")
    max_aspect: float | None = Field(None, ge=1, description="longer over shorter side; drops banners and rulers")
    min_characters: NonNegativeInt | None = Field(None, description="code points of the caption; 0 if it is missing")
    max_characters: NonNegativeInt | None = Field(None, description="captions of several thousand are dumps of pages")
    min_words: NonNegativeInt | None = Field(None, description="separated by white space; one or two are a name")
    max_words: NonNegativeInt | None = None
    languages: list[str] = Field([], description="ISO 639 codes to keep, as py3langid identifies the caption")

    @field_validator("languages")
    @classmethod
    def _lower_codes(cls, codes: list[str]) -> list[str]:
        return [code.lower() for code in codes]

    @model_validator(mode="after")
    def _check_bounds(self) -> "SelectionRules":
        for least, most in _BOUNDS:
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} is {low}, more than {most}, which is {high}")
        return self

    @property
    def top_column(self) -> str:
        """Returns the name of the column that `top_fraction` ranks by."""
        return SCORES[self.top_by]

    def list_columns(self) -> dict[str, ColumnKind]:
        """Returns the columns that the rules read, and always uid and URL: a row without either is useless."""
        found: dict[str, ColumnKind] = {UID: "text", URL: "text"}
        if self.languages or self._has_any("min_characters", "max_characters", "min_words", "max_words"):
            found[TEXT] = "text"
        if self._has_any("min_width", "max_width", "min_side", "max_aspect"):
            found[WIDTH] = "number"
        if self._has_any("min_height", "max_height", "min_side", "max_aspect"):
            found[HEIGHT] = "number"
        for name, column in SCORES.items():
            if self._has_any(f"min_{name}") or (self._has_any("top_fraction") and self.top_by == name):
                found[column] = "number"
        return found

    def _has_any(self, *names: str) -> bool:
        return any(getattr(self, name) is not None for name in names)


def is_of_kind(found: pa.DataType, kind: ColumnKind) -> bool:
    """Returns whether a column of this type can hold values of this kind."""
    if pa.types.is_dictionary(found):
        return kind == "text" and is_of_kind(found.value_type, kind)
    of_kind = {
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        "number": (pa.types.is_integer, pa.types.is_floating),
    }
    return any(is_one(found) for is_one in of_kind[kind])
