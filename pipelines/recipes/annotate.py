"""Defines the recipe of an annotate run: engines, filters, chunks, and the actor pools of its stages."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from curation.engines.captions.prompts import FIELDS
from curation.engines.stages import StageName, get_caption_name, get_kind, make_caption_stage
from curation.images.decode import DecodeLimits
from curation.images.filters import ImageFilters
from pipelines.recipes.base import Recipe, RunOptions
from pipelines.recipes.rows import ChosenRows
from schemas.output_set.options import Globs, Options, RecipePath
from schemas.output_set.recipe_paths import RelativeToRecipe

PoolName = str
"""`decode`, or the stage of an engine."""

_KINDS = "ocr, tags, boxes, captions or captions.NAME"


def _check_caption_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in FIELDS:
        raise ValueError(f"lower-case letters, digits and _, 40 at most, and none of {', '.join(FIELDS)}")
    return name


def _check_stage(name: str) -> str:
    kind, point, caption = name.partition(".")
    if kind not in Engines.model_fields or (point and not (kind == "captions" and caption)):
        raise ValueError(_KINDS)
    return name


def _check_pool(name: str) -> str:
    try:
        return name if name == "decode" else _check_stage(name)
    except ValueError:
        raise ValueError(f"decode, {_KINDS}") from None


CaptionName = Annotated[str, AfterValidator(_check_caption_name)]
Setting = str | int | float | bool | None

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
        dict[str, Setting],
        RelativeToRecipe(may_be_name=True, keys=("weights", "vocabulary", "thresholds")),
    ] = Field({})
    batch_size: PositiveInt = Field(
        16, description="images per call, and the images that a crash makes suspect; boxes: 4"
    )


class CaptionEngineOptions(EngineOptions):
    """Names the engine of a caption, its settings, and what it is asked."""

    prompt: RecipePath | None = Field(
        None, description="a text file with fields in braces, such as {alt_text}; default: a plain question"
    )
    prompt_sha256: str | None = Field(None, description="of that file; filled in when the set is made")


class Engines(Options):
    """Names the engines of a run, at least one."""

    ocr: EngineOptions | None = Field(None, exclude_if=lambda value: value is None)
    tags: EngineOptions | None = Field(None, exclude_if=lambda value: value is None)
    boxes: EngineOptions | None = Field(None, exclude_if=lambda value: value is None)
    captions: dict[CaptionName, CaptionEngineOptions] = Field(
        {},
        description="captions by name, in the order in which they are written; a prompt may name earlier ones",
        exclude_if=lambda value: not value,
    )

    @model_validator(mode="before")
    @classmethod
    def _check_kinds(cls, values: Any) -> Any:
        if isinstance(values, dict) and (not values or values.keys() - cls.model_fields.keys()):
            unknown = next(
                (f"there is no {kind!r}" for kind in values if kind not in cls.model_fields), "none is named"
            )
            raise ValueError(f"{unknown}: use {', '.join(cls.model_fields)}")
        return values

    def list_stages(self) -> dict[StageName, EngineOptions]:
        """Returns the engines by their stages, in the order of the columns."""
        alone = {kind: getattr(self, kind) for kind in ("ocr", "tags", "boxes")}
        named = {make_caption_stage(name): options for name, options in self.captions.items()}
        return {stage: options for stage, options in (alone | named).items() if options is not None}

    def replace_stages(self, stages: Mapping[StageName, EngineOptions]) -> Self:
        """Returns the engines with these options, by their stages."""
        alone = {stage: options for stage, options in stages.items() if get_caption_name(stage) is None}
        named = {name: stages.get(make_caption_stage(name), options) for name, options in self.captions.items()}
        return self.model_copy(update=alone | {"captions": named})


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

    resources: dict[Annotated[str, AfterValidator(_check_pool)], PoolOptions] = Field(
        {}, description="by pool; `captions` stands for all captions that are not named"
    )
    settings: dict[Annotated[str, AfterValidator(_check_stage)], dict[str, Setting]] = Field(
        {}, description="settings of engines that can't alter the output, such as a server's address; as `resources`"
    )
    max_total_tokens: PositiveInt | None = Field(
        None, description="tokens of prompts and captions after which the run ends, to be resumed; default: no limit"
    )
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


class AnnotateRecipe(ChosenRows, Recipe):
    """Annotates the images of WebDataset shards."""

    kind: ClassVar[str] = "annotate"
    input: Globs = Field(min_length=1, description="globs of img2dataset / DataComp tars")
    engines: Engines
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
    def _lower_batch_of_boxes(cls, engines: Engines) -> Engines:
        if engines.boxes is None:
            return engines
        if engines.tags is None:
            raise ValueError("boxes need tags: annotate tags,boxes")
        if "batch_size" in engines.boxes.model_fields_set:
            return engines
        return engines.model_copy(update={"boxes": engines.boxes.model_copy(update={"batch_size": BOXES_BATCH})})

    @property
    def stages(self) -> dict[StageName, EngineOptions]:
        """Returns all engines by their stages, with the settings of `run` among theirs."""
        return {
            stage: options.model_copy(update={"settings": options.settings | self._find_run_settings(stage)})
            for stage, options in self.engines.list_stages().items()
        }

    def _find_run_settings(self, stage: StageName) -> dict[str, Setting]:
        return self.run.settings.get(get_kind(stage), {}) | self.run.settings.get(stage, {})

    def find_resources(self, pool: PoolName) -> PoolOptions:
        """Returns what `run.resources` says of a pool, by its name or else by its kind."""
        resources = self.run.resources
        return resources.get(pool) or resources.get(pool.partition(".")[0]) or PoolOptions()
