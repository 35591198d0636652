"""What an annotate run is asked to do: engines, filters, and the pools that its stages run in."""

from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from curation.engines.kinds import EngineKind as EngineKind
from curation.images.decode import DecodeLimits
from curation.images.filters import ImageFilters
from pipelines.recipes.base import Recipe, RunOptions
from schemas.output_set.options import Globs, Options

PoolName = Literal["decode", "ocr", "tags", "boxes"]


BOXES_BATCH = 4  # a core may take half a minute for them, and only the end of a batch is a sign of life


class ChunkOptions(Options):
    """How shards are cut. Part of the recipe: other cuts give other row groups, so not the same bytes."""

    samples: PositiveInt = Field(
        256, description="at most so many samples: under a minute of OCR, the work a kill costs"
    )
    bytes: PositiveInt = Field(32 << 20, description="at most so many bytes of files: bounds what is held of them")
    pixels: PositiveInt = Field(
        32_000_000, description="at most so many pixels: decoded, a chunk is 96 MB on its way from pool to pool"
    )


class EngineOptions(Options):
    """An engine and its settings; what settings there are is the engine's to say."""

    engine: str = Field(description="a name that `shardloom engines` lists; of your own, with --trust-code")
    settings: dict[str, str | int | float | bool | None] = Field({})
    batch_size: PositiveInt = Field(
        16, description="images it is given at once, and that a crash makes suspects; of boxes 4"
    )


class AnnotateFilters(ImageFilters):
    """Images to leave out before an engine sees them."""

    repeated_images: bool = Field(
        False, description="leave out all but the first of equal bytes; reads every shard twice"
    )


class PoolOptions(Options):
    """The workers of one pool of actors. What is not given is shared out by `pipelines.annotate.pools`.

    An engine's `batch_size` is no such option: it can alter a last digit, so it stands with the engine.
    """

    workers: PositiveInt | None = Field(None, description="processes; default: `run.workers`, one for what is cheap")
    min: PositiveInt | None = Field(None, description="processes that a pool starts with, in place of `workers`")
    max: PositiveInt | None = Field(None, description="processes that it grows to while others leave room")
    cpus: float | None = Field(None, gt=0, description="cores of each; default: a fair share of one")
    gpus: NonNegativeFloat = Field(0.0, description="a fraction lets several workers share a GPU")

    @model_validator(mode="before")
    @classmethod
    def _of_the_engine(cls, values: Any) -> Any:
        if isinstance(values, dict) and "batch_size" in values:
            raise ValueError("batch_size can alter the output: it stands in engines, beside the engine's settings")
        return values

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if self.workers and (self.min or self.max):
            raise ValueError("workers is min and max in one: leave it out, or these")
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus {self.gpus:g}: a worker has a fraction of one GPU, or whole ones")
        return self


class AnnotateRun(RunOptions):
    """How an annotate run is carried out."""

    resources: dict[PoolName, PoolOptions] = Field({})
    reuse: str | None = Field(None, description="an annotation set of the same images: its engines are not run again")
    recycle_images: PositiveInt | None = Field(
        None, description="a worker is replaced after about so many: what its engine's native code leaks goes with it"
    )


class AnnotateRecipe(Recipe):
    """Annotates the images of WebDataset shards."""

    kind: ClassVar[str] = "annotate"
    input: Globs = Field(min_length=1, description="globs of img2dataset / DataComp tars")
    engines: dict[EngineKind, EngineOptions] = Field(min_length=1)
    decode: DecodeLimits = DecodeLimits()
    filters: AnnotateFilters = AnnotateFilters()
    chunk: ChunkOptions = ChunkOptions()
    max_engine_errors: float = Field(
        0.05, ge=0, le=1, description="a larger share means a broken engine, not bad images"
    )
    run: AnnotateRun = AnnotateRun()

    @field_validator("engines")
    @classmethod
    def _in_order(cls, engines: dict[EngineKind, EngineOptions]) -> dict[EngineKind, EngineOptions]:
        if "boxes" in engines and "tags" not in engines:
            raise ValueError("boxes are looked for by tags: annotate tags,boxes")
        if "boxes" in engines and "batch_size" not in engines["boxes"].model_fields_set:
            engines = engines | {"boxes": engines["boxes"].model_copy(update={"batch_size": BOXES_BATCH})}
        return {kind: engines[kind] for kind in get_args(EngineKind) if kind in engines}
