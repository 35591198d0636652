"""Recipes: what a run is asked to do, as typed options with the reason for each default.

A recipe has two halves. What can alter a byte of the output is written to `OUT/recipe.yaml` and must be the same when a
run is taken up again; `run` holds what can't (workers, patience) and may differ every time.
"""

import hashlib
import re
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from curation.decode import DecodeLimits
from curation.document_filters import DocumentFilters
from curation.filters import ImageFilters
from curation.mixture.options import MixtureOptions
from curation.selection_rules import SelectionRules
from curation.sources import SOURCES, ReadOptions
from pipelines.chunks import ChunkOptions
from schemas.errors import UsageError
from schemas.options import Globs, Options
from schemas.recipe_file import dump_yaml, read_recipe, validated

TOKENIZER = "a tokenizer.json, its folder, or a name on the hub; without it tokens are not counted"


class RunOptions(Options):
    """How a run is carried out; nothing here can alter its output."""

    output: str | None = Field(None, description="the output set's folder; --output on the command line")
    workers: PositiveInt | None = Field(None, description="processes that do the work; default: one a core")
    address: str | None = Field(
        None, description="a running Ray cluster; default: RAY_ADDRESS, else a cluster of our own"
    )
    stall_seconds: float = Field(100.0, gt=0, description="no sign of life for so long ends the run: under two minutes")
    allow_damaged: bool = Field(False, description="exit 0 although a shard was damaged")
    allow_download: bool = Field(False, description="a tokenizer may be a name on the Hugging Face hub")


class Recipe(Options):
    """What every recipe has."""

    kind: ClassVar[str]
    run: RunOptions = RunOptions()

    def resolved(self) -> dict[str, Any]:
        """The half that can alter the output, as plain data."""
        return {"kind": self.kind} | self.model_dump(mode="json", exclude={"run"})

    def sha256(self) -> str:
        """Hash of that half."""
        return hashlib.sha256(dump_yaml(self.resolved())).hexdigest()


EngineKind = Literal["ocr", "tags", "boxes"]
"""What an engine annotates, and the column of it. In this order, whatever the recipe's: so are the columns' bytes."""

PoolName = Literal["decode", "ocr", "tags", "boxes"]


class EngineSpec(Options):
    """An engine and its settings; what settings there are is the engine's to say."""

    engine: str = Field(description="a name from `pipelines.engines`, or your own as `package.module:Class`")
    settings: dict[str, str | int | float | bool | None] = Field({})
    batch_size: PositiveInt = Field(16, description="images it is given at once, and that a crash makes suspects")


class AnnotateFilters(ImageFilters):
    """Images to leave out before an engine sees them."""

    repeated_images: bool = Field(
        False, description="leave out all but the first of equal bytes; reads every shard twice"
    )


class PoolOptions(Options):
    """The workers of one pool of actors. What is not given is shared out by `pipelines.pools`.

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
    engines: dict[EngineKind, EngineSpec] = Field(min_length=1)
    decode: DecodeLimits = DecodeLimits()
    filters: AnnotateFilters = AnnotateFilters()
    chunk: ChunkOptions = ChunkOptions()
    max_engine_errors: float = Field(
        0.05, ge=0, le=1, description="a larger share means a broken engine, not bad images"
    )
    run: AnnotateRun = AnnotateRun()

    @field_validator("engines")
    @classmethod
    def _in_order(cls, engines: dict[EngineKind, EngineSpec]) -> dict[EngineKind, EngineSpec]:
        if "boxes" in engines and "tags" not in engines:
            raise ValueError("boxes are looked for by tags: annotate tags,boxes")
        return {kind: engines[kind] for kind in get_args(EngineKind) if kind in engines}


Family = Literal["ocr", "grounding"]
"""A family of captions: what they tell of, and how their published layout holds them."""


class RenderRecipe(Recipe):
    """Renders the OCR captions of an annotation set."""

    kind: ClassVar[str] = "render"
    family: Literal["ocr"] = "ocr"
    input: str = Field(description="the annotation set's folder")
    granularities: list[Annotated[int, Field(ge=0, le=5)]] = Field([0, 1, 2, 3, 4, 5], min_length=1)
    raw_caption: Literal["with", "without", "both"] = "both"
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="the engine's own floor stands; raise it here at no cost"
    )
    min_lines: PositiveInt = Field(1, description="an image without text has no OCR caption")


class RenderGroundingRecipe(Recipe):
    """Renders the grounding captions of an annotation set."""

    kind: ClassVar[str] = "render"
    family: Literal["grounding"] = "grounding"
    input: str = Field(description="the annotation set's folder")
    granularities: list[Annotated[int, Field(ge=0, le=2)]] = Field([0, 1, 2], min_length=1)
    raw_caption: Literal["with", "without", "both"] = "both"
    caption_from: str | None = Field(
        None,
        description="glob of Parquet files with uid and a caption to put the places into; default: the alt text. "
        "Every annotation file scans all of these",
    )
    caption_column: str | None = Field(None, description="of these files; default: caption, else cogvlm_caption")
    min_score: float = Field(0.0, ge=0, le=1, description="the detector's own floor stands; raise it here at no cost")
    min_boxes: PositiveInt = Field(1, description="an image in which nothing was found has no grounding caption")


class ShardRecipe(Recipe):
    """Joins image shards with a caption set into training shards."""

    kind: ClassVar[str] = "shard"
    images: Globs = Field(min_length=1, description="globs of the image shards")
    captions: str = Field(description="the caption set's folder")
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="DataComp's own; about 1 GB at 512 pixels")
    source: str | None = Field(
        None,
        description="the data set's name in the index, by which mixtures are weighted; "
        "default: blip3-ocr or blip3-grounding",
    )
    granularity: Annotated[int, Field(ge=0, le=5)] = Field(
        0, description="the caption that becomes the .txt; BLIP-3 trains on 0"
    )
    raw_caption: bool = Field(False, description="whether that caption begins with the alt text")
    tokenizer: str | None = Field(None, description=TOKENIZER)


class SelectRun(RunOptions):
    """How a selection is carried out."""

    subset: str | None = Field(None, description="also writes the uids, as a subset file of DataComp's (.npy)")


class SelectRecipe(Recipe):
    """Chooses rows of DataComp's metadata."""

    kind: ClassVar[str] = "select"
    input: Globs = Field(
        min_length=1, description="globs of Parquet files with `uid`, `url` and what the rules look at"
    )
    rules: SelectionRules = SelectionRules()
    uids: Globs = Field([], description="globs of subset files (.npy): rows stay whose uid is in one of them")
    exclude: Globs = Field([], description="the same: rows stay whose uid is in none, as those of a test set")
    run: SelectRun = SelectRun()


class DownloadedImages(Options):
    """What is made of the images at addresses. Sizes and quality are DataComp's own."""

    urls_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="also those of a unit of work")
    image_size: PositiveInt = Field(512, description="pixels of the longer side; larger images are made smaller")
    encode_quality: int = Field(95, ge=1, le=100, description="of JPEG; img2dataset's default")
    max_bytes: int = Field(50_000_000, gt=0, lt=1 << 31, description="of one answer, which is held in memory")
    max_pixels: int = Field(64_000_000, gt=0, description="as for decoding: a bomb is small until then")


class DownloadPatience(Options):
    """Who may be asked for images, and for how long."""

    allow_hosts: list[str] = Field(
        [], description="hosts that may be asked although they are of this machine or a private network"
    )
    retries: int = Field(2, ge=0, le=10, description="of each address")
    timeout: float = Field(10.0, gt=0, description="seconds without a byte")
    answer_seconds: float = Field(60.0, gt=0, description="of one answer: some hosts send a byte now and then")
    deadline_seconds: float = Field(
        1800.0, gt=0, description="of one shard: the last hundredth can take longer than all others together"
    )

    @field_validator("allow_hosts")
    @classmethod
    def _names(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not host or "/" in host or re.fullmatch(r"[^:]*:\d*|\[.*\]:\d*", host):
                raise ValueError(f"{host!r} is no host's name: leave out scheme, port and path")
        return hosts


class DownloadOptions(DownloadPatience, DownloadedImages):
    """How images are downloaded by their addresses."""

    by: Literal["img2dataset"] = "img2dataset"


class DownloadRun(DownloadPatience, RunOptions):
    """How a download is carried out. Nothing that comes from the web is sure: patience is none of its recipe."""

    threads: int = Field(64, gt=0, le=1024, description="connections at once, of each worker")


class DownloadRecipe(DownloadedImages, Recipe):
    """Downloads the images of DataComp's metadata."""

    kind: ClassVar[str] = "download"
    input: Globs = Field(
        min_length=1, description="globs of Parquet files with `url`, and `text`, `uid`, `face_bboxes`, `sha256`"
    )
    blur_faces: bool = Field(True, description="blurs what `face_bboxes` names, where there is such a column")
    verify_hash: bool = Field(
        False, description="leaves out images that are not of `sha256`: some 14 % of DataComp's, mostly coded anew"
    )
    run: DownloadRun = DownloadRun()

    def options(self) -> DownloadOptions:
        """What one shard is downloaded by."""
        images = self.model_dump(include=set(DownloadedImages.model_fields))
        return DownloadOptions(**images, **self.run.model_dump(include=set(DownloadPatience.model_fields)))


class IngestRun(RunOptions):
    """How an ingest run is carried out."""

    download_threads: int = Field(32, gt=0, le=1024, description="connections at once, of each worker")


class IngestRecipe(Recipe):
    """Makes training shards of a published set."""

    kind: ClassVar[str] = "ingest"
    source: str = Field(description="which set it is; a name from `curation.sources`")
    input: Globs = Field(min_length=1, description="globs of the set's files")
    images: Globs = Field([], description="where images that are addresses lie: see `pipelines.image_store`")
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
        if source not in SOURCES:
            raise ValueError(f"there is no source {source!r}: use one of {', '.join(SOURCES)}")
        return source

    @field_validator("download")
    @classmethod
    def _alone(cls, download: DownloadOptions | None, info: ValidationInfo) -> DownloadOptions | None:
        if download is not None and info.data.get("images"):
            raise ValueError("not beside images: those need not be asked for")
        return download


class MixRecipe(MixtureOptions, Recipe):
    """Mixes sets of training shards into one. Names stand in order, so that the order of a file's keys is no matter."""

    kind: ClassVar[str] = "mix"
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="in each but the last shard")


R = TypeVar("R", bound=Recipe)


def load_recipe(model: type[R], path: str | None, held: dict[str, Any] | None = None, **flags: Any) -> R:
    """The recipe in a YAML file, with the flags that are not None laid over it.

    `held` are values that were read already: those of the file, or those that an output set holds.
    """
    values = read_recipe(path) if held is None and path is not None else held or {}
    if values.pop("kind", model.kind) != model.kind:
        raise UsageError(f"recipe {path or 'of that set'} is not of the kind {model.kind!r}")
    _overlay(values, flags)
    return validated(model, values, path)


def _overlay(values: dict[str, Any], flags: dict[str, Any]) -> None:
    """Lays flags over a recipe's values; nested ones are merged key by key."""
    for name, value in flags.items():
        if isinstance(value, dict):
            given = {key: flag for key, flag in value.items() if flag is not None}
            held = values.get(name)
            if not given or not isinstance(held, dict | None):  # what is no mapping is left for the model to refuse
                continue
            values[name] = dict(held or {})
            if given.get("engine", values[name].get("engine")) != values[name].get("engine"):
                values[name].pop("settings", None)  # they are the other engine's
            _overlay(values[name], given)
        elif value is not None:
            values[name] = value
