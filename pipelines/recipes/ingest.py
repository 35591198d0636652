"""How a published set becomes training shards."""

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from curation.documents.filters import DocumentFilters
from curation.sources import SOURCES, ReadOptions
from pipelines.recipes.base import TOKENIZER, Recipe, RunOptions
from pipelines.recipes.download import DownloadOptions
from schemas.errors import UsageError
from schemas.output_set.options import Globs

ROW_SECONDS = 300.0
"""A document of the most pixels that are taken, eight times `max_pixels`, took 200 s on a slow core as PNG."""


class IngestRun(RunOptions):
    """How an ingest run is carried out."""

    download_threads: int = Field(
        32, gt=0, le=1024, description="connections at once, of each worker; to one host, half of them at most"
    )
    row_seconds: float = Field(
        ROW_SECONDS, gt=0, le=86_400, description="CPU seconds of one row, after which it is left out"
    )


class IngestRecipe(Recipe):
    """Makes training shards of a published set."""

    kind: ClassVar[str] = "ingest"
    source: str = Field(description=f"which set it is: {', '.join(SOURCES.shipped)}, or a plug-in's name")
    input: Globs = Field(min_length=1, description="globs of the set's files")
    images: Globs = Field([], description="where images that are addresses lie: see `pipelines.ingest.stores.shards`")
    download: DownloadOptions | None = Field(None, description="asks for them at their addresses; `{}` as by default")
    name: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="the set's name in the index, by which mixtures are weighted; default: that of `source`",
    )
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="the most; also the rows of a unit of work")
    bytes_per_shard: PositiveInt = Field(1 << 30, description="the most, but for one sample that alone is larger")
    tokenizer: str | None = Field(None, description=TOKENIZER)
    read: ReadOptions = ReadOptions()
    filters: DocumentFilters = DocumentFilters()
    repeated_images: Literal["keep", "exact", "alike"] = Field(
        "keep",
        description="images that came before anywhere in the input, byte for byte or by perceptual hash, are dropped; "
        "reads everything twice",
    )
    run: IngestRun = IngestRun()

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        try:
            SOURCES.find(source)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return source

    @field_validator("download")
    @classmethod
    def _alone(cls, download: DownloadOptions | None, info: ValidationInfo) -> DownloadOptions | None:
        if download is not None and info.data.get("images"):
            raise ValueError("not beside images: those need not be asked for")
        return download
