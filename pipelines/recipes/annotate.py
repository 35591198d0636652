"""Defines the recipe of an annotate run: engines, filters, chunks, and the actor pools of its stages."""

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from curation.engines.kinds import EngineKind as EngineKind
from curation.images.decode import DecodeLimits
from curation.images.filters import ImageFilters
from pipelines.recipes.base import Recipe, RunOptions
from schemas.output_set.options import Globs, Options, RecipePath
from schemas.output_set.recipe_paths import RelativeToRecipe

PoolName = Literal["decode", "ocr", "tags", "boxes"]


BOXES_BATCH = 4  # a core may take half a minute for four, and a worker sends a heartbeat only at the end of a batch


class ChunkOptions(Options):
    """Sets how shards are cut into chunks. It is part of the recipe, since other row groups give other bytes."""

    samples: PositiveInt = Field(
        256, description="most samples in a chunk: under a minute of OCR, which is the work that a kill costs"
    )
    bytes: PositiveInt = Field(32 << 20, description="most bytes of image files in a chunk: bounds memory")
    pixels: PositiveInt = Field(
        32_000_000, description="most pixels in a chunk: 96 MB when decoded and sent from pool to pool"
    )


class EngineOptions(Options):
    """Names an engine and its settings. The engine defines which settings exist."""

    engine: str = Field(description="a name from `shardloom engines`, or that of your own engine with --trust-code")
    settings: Annotated[
        dict[str, str | int | float | bool | None],
        RelativeToRecipe(may_be_name=True, keys=("weights", "vocabulary", "thresholds")),
    ] = Field({})
    batch_size: PositiveInt = Field(
        16, description="images per call, and the images that a crash makes suspect; boxes: 4"
    )


class AnnotateFilters(ImageFilters):
    """Decides which images are left out before an engine sees them."""

    repeated_images: bool = Field(
        False, description="leave out images with the same bytes as an earlier one; reads every shard twice"
    )


class PoolOptions(Options):
    """Sets the workers of one actor pool. `pipelines.annotate.pools` computes what is not given.

    An engine's `batch_size` is not set here: it can change a last digit of the output, so it is set in `engines`.
    """

    workers: PositiveInt | None = Field(None, description="processes; default: `run.workers`, or one for a cheap stage")
    min: PositiveInt | None = Field(None, description="processes at the start, instead of `workers`")
    max: PositiveInt | None = Field(None, description="processes that the pool may grow to while capacity is free")
    cpus: float | None = Field(None, gt=0, description="cores of each process; default: a fair share of one")
    gpus: NonNegativeFloat = Field(0.0, description="GPUs of each process; with a fraction, several share a GPU")

    @model_validator(mode="before")
    @classmethod
    def _refuse_batch_size(cls, values: Any) -> Any:
        if isinstance(values, dict) and "batch_size" in values:
            raise ValueError("batch_size can alter the output: set it in engines, beside the engine's settings")
        return values

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.workers and (self.min or self.max):
            raise ValueError("workers sets both min and max: pass workers alone, or min and max")
        if self.min and self.max and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus {self.gpus:g}: a worker has a fraction of one GPU, or whole ones")
        return self


class AnnotateRun(RunOptions):
    """Sets how an annotate run is carried out. Nothing here can alter its output."""

    resources: dict[PoolName, PoolOptions] = Field({})
    drivers: PositiveInt | None = Field(
        None,
        description="processes that feed the workers; default: one for 64 workers on GPUs or 512 on cores",
    )
    reuse: RecipePath | None = Field(
        None, description="an annotation set of the same images, whose annotations are copied instead of computed again"
    )
    claim: bool = Field(
        False, description="share the set with other runs of this recipe: each claims shards, and takes over those lost"
    )
    recycle_images: PositiveInt | None = Field(
        None, description="images after which a worker is replaced, to free memory that native code leaks"
    )

    @model_validator(mode="after")
    def _check_drivers(self) -> Self:
        if self.claim and (self.drivers or 1) > 1:
            raise ValueError("a run that claims shards has one driver: leave out drivers, and start more such runs")
        return self


class AnnotateRecipe(Recipe):
    """Annotates the images of WebDataset shards."""

    kind: ClassVar[str] = "annotate"
    input: Globs = Field(min_length=1, description="globs of img2dataset / DataComp tars")
    engines: dict[EngineKind, EngineOptions] = Field(min_length=1)
    decode: DecodeLimits = DecodeLimits()
    filters: AnnotateFilters = AnnotateFilters()
    chunk: ChunkOptions = ChunkOptions()
    max_engine_errors: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of images; with more engine errors the run stops, since the engine is broken",
    )
    run: AnnotateRun = AnnotateRun()

    @field_validator("engines")
    @classmethod
    def _order_engines(cls, engines: dict[EngineKind, EngineOptions]) -> dict[EngineKind, EngineOptions]:
        if "boxes" in engines and "tags" not in engines:
            raise ValueError("boxes need tags: annotate tags,boxes")
        if "boxes" in engines and "batch_size" not in engines["boxes"].model_fields_set:
            engines = engines | {"boxes": engines["boxes"].model_copy(update={"batch_size": BOXES_BATCH})}
        return {kind: engines[kind] for kind in get_args(EngineKind) if kind in engines}
