"""Defines the recipe that converts a published data set into training shards."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from curation.documents.filters import DocumentFilters
from curation.sources import SOURCES, ReadOptions
from pipelines.recipes.base import TOKENIZER, Recipe, RunOptions
from pipelines.recipes.download import DownloadOptions
from pipelines.recipes.rows import ChosenRows
from schemas.errors import UsageError
from schemas.output_set.options import Globs, PathOrName

ROW_SECONDS = 300.0
"""CPU seconds. A PNG document with the most pixels allowed, eight times `max_pixels`, took 200 s on a slow core."""


class IngestRun(RunOptions):
    """Sets how an ingest run is carried out. Nothing here can alter its output, unless a row exceeds `row_seconds`."""

    download_threads: int = Field(
        32, gt=0, le=1024, description="concurrent connections of each worker; at most half of them to one host"
    )
    row_seconds: float = Field(ROW_SECONDS, gt=0, le=86_400, description="CPU seconds after which a row is quarantined")


class IngestRecipe(ChosenRows, Recipe):
    """Describes the conversion of a published data set into training shards."""

    kind: ClassVar[str] = "ingest"
    source: str = Field(description=f"the kind of data set: {', '.join(SOURCES.shipped)}, or a plug-in's name")
    input: Globs = Field(min_length=1, description="globs of the set's files")
    images: Globs = Field([], description="where images given by URL are stored: see `pipelines.ingest.stores.open`")
    download: DownloadOptions | None = Field(None, description="download such images instead; `{}` takes the defaults")
    name: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="the set's name in the index, by which mixtures weight it; default: that of `source`",
    )
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(
        10_000, gt=0, le=1_000_000, description="most samples in a shard; also the rows of a unit of work"
    )
    bytes_per_shard: PositiveInt = Field(1 << 30, description="most bytes in a shard, unless a single sample is larger")
    tokenizer: PathOrName | None = Field(None, description=TOKENIZER)
    read: ReadOptions = Field(ReadOptions(), validate_default=True)
    filters: DocumentFilters = DocumentFilters()
    repeated_images: Literal["keep", "exact", "alike"] = Field(
        "keep",
        description="drop images that repeat an earlier one of the input, by their bytes or by perceptual hash; "
        "reads everything twice",
    )
    run: IngestRun = IngestRun()

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        try:
            SOURCES.find(source)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return source

    @field_validator("read")
    @classmethod
    def _fill_raw_caption(cls, read: ReadOptions, info: ValidationInfo) -> ReadOptions:
        """Gives other sources than BLIP3-GROUNDING, which has a third choice, the value that they always had."""
        if read.raw_caption is not None or info.data.get("source") == "blip3-grounding":
            return read
        return read.model_copy(update={"raw_caption": False})

    @field_validator("download")
    @classmethod
    def _check_download(cls, download: DownloadOptions | None, info: ValidationInfo) -> DownloadOptions | None:
        if download is not None and info.data.get("images"):
            raise ValueError("use either download or images, not both")
        return download
