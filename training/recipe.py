"""A training run's recipe: everything that it is asked to be, typed, with the reason for each default beside it.

As in `pipelines.recipes.base` one half decides what comes out, is written to `OUT/recipe.yaml` and must be the same
when a run is taken up again. What is left out of that half (`FREE`) may differ: it moves a result by rounding at most.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from schemas.errors import UsageError
from schemas.output_set import recipe_file
from schemas.output_set.options import Options
from schemas.output_set.recipe_file import apply_override, dump_yaml, read_recipe, validated
from training.data.options import DataOptions
from training.model.config import ModelOptions

FREE = ("run", "checkpoint", "micro", "parallel", "activation_checkpointing", "compile")
FREE_DATA = ("workers", "prefetch", "cache", "max_faults")

_FREE_KEYS = {*FREE, *(f"data.{name}" for name in FREE_DATA)}

Group = Literal["tower", "connector", "language"]
"""A part of the model with a learning rate of its own."""

Beta = Annotated[float, Field(ge=0, lt=1)]
"""How much of a mean stays from step to step."""


class LearningRates(Options):
    """The highest that each part's learning rate gets; 0 freezes the part."""

    tower: NonNegativeFloat = Field(0.0, description="frozen, as in all of xGen-MM's stages")
    connector: NonNegativeFloat = Field(2e-5, description="of xGen-MM's fine-tuning; pre-training's is unpublished")
    language: NonNegativeFloat = Field(2e-5, description="the same")


class OptimiserOptions(Options):
    """AdamW."""

    lr: LearningRates = LearningRates()
    law: Literal["mm1"] | None = Field(
        None, description="mm1: the rate of every part that is not frozen follows from the language model's size"
    )
    betas: tuple[Beta, Beta] = Field((0.9, 0.999), description="torch's own, which xGen-MM left as they are")
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = Field(
        0.0, description="of xGen-MM's fine-tuning; OpenFlamingo pre-trains with 0.1"
    )
    decay: Literal["matrices", "all"] = Field(
        "matrices", description="not norms, biases and learned queries: they have no scale to keep small; xGen-MM: all"
    )
    clip: PositiveFloat | None = Field(1.0, description="the gradient's norm, once a step; xGen-MM: every micro-batch")


class ScheduleOptions(Options):
    """The learning rate's way, as a factor of its highest."""

    shape: Literal["cosine", "constant"] = "cosine"
    warmup: int = Field(2000, ge=0, description="steps from 0 to the highest; of xGen-MM's fine-tuning")


class CheckpointOptions(Options):
    """When checkpoints are written, and how many stay."""

    every: PositiveInt = Field(1000, description="steps; one more at the end, and where a run is told to stop")
    keep: PositiveInt = Field(2, description="the last ones: should one be damaged, another is left")
    asynchronous: bool = Field(True, description="training goes on while a copy in the host's memory is written")


class TrainRun(Options):
    """How a run is carried out; nothing here can alter what it learns."""

    output: str | None = Field(None, description="the run's folder, on a disk that all ranks see; or --output")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    log_every: PositiveInt = Field(1, description="steps from line to line of metrics.jsonl")
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="besides; the package must be installed"
    )
    peak_tflops: PositiveFloat | None = Field(
        None, description="of one device, for the MFU; default: what a large matrix product reaches here"
    )
    patience: PositiveFloat = Field(1800.0, description="seconds that a rank waits for the others before it gives up")


class TrainRecipe(Options):
    """A training run."""

    kind: Literal["train"] = "train"
    model: ModelOptions
    start: str | None = Field(None, description="a model that an earlier stage has exported: its weights come first")
    data: DataOptions
    optimiser: OptimiserOptions = OptimiserOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    steps: PositiveInt = Field(description="optimiser steps; the schedule ends with them")
    sequences: PositiveInt = Field(description="packed sequences a step, over all ranks: the batch")
    micro: PositiveInt = Field(1, description="of them a rank works on at once: as many as fit its memory")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="bf16: weights, gradients and sums stay in fp32")
    parallel: Literal["auto", "none", "ddp", "fsdp"] = Field("auto", description="auto: fsdp for more ranks than one")
    activation_checkpointing: bool = Field(False, description="a third more work for the layers, little memory")
    compile: bool = Field(False, description="torch.compile of every decoder and connector layer")
    multipliers: dict[str, NonNegativeFloat] = Field({}, description="of the loss, by source; 1 for those not named")
    checkpoint: CheckpointOptions = CheckpointOptions()
    seed: int = Field(
        0, description="of what is random in a step, dropout; data.seed is the order's, model.seed new weights'"
    )
    run: TrainRun = TrainRun()

    @field_validator("multipliers")
    @classmethod
    def _of_sources(cls, named: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        data = info.data.get("data")
        unknown = [name for name in named if data is not None and name not in data.sources]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(named.items()))

    @property
    def sources(self) -> list[str]:
        """Names of the sources, as `Batch.sources` counts them."""
        return list(self.data.sources)

    def resolved(self) -> dict[str, Any]:
        """The half that decides what is learnt, as plain data."""
        return self.model_dump(mode="json", exclude={"data": set(FREE_DATA), **dict.fromkeys(FREE, True)})

    def dumped(self) -> bytes:
        """The whole, as the YAML of a recipe file."""
        return dump_yaml(self.model_dump(mode="json"))


def load_recipe(path: str, overrides: list[str] | None = None, output: str | None = None) -> TrainRecipe:
    """The recipe in a YAML file with `key=value` laid over it, keys dotted, values as YAML has them.

    Raises `UsageError` for a key that there is not, by its name.
    """
    values = read_recipe(path)
    if values.get("kind", "train") != "train":
        raise UsageError(f"recipe {path} is of the kind {values['kind']!r}, not 'train'")
    for override in overrides or []:
        apply_override(values, override)
    if output is not None:
        apply_override(values, f"run.output={yaml.safe_dump(output)}")
    if isinstance(values.get("model"), dict) and "resampler" in values["model"]:  # as recipes once had it
        said = "unknown key model.resampler: write model.connector: {kind: perceiver, ...}"
        raise UsageError(f"recipe {path}: {said}")
    return validated(TrainRecipe, values, path)


def check_output(recipe: TrainRecipe) -> Path:
    """The run's folder. Raises `UsageError` when there is none, or it is no local path."""
    output = recipe.run.output
    if output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    if "://" in output:
        raise UsageError(f"run.output {output}: a run's folder lies on a disk that all ranks see, not at a URL")
    return Path(output)


def differences(held: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What a run's folder holds and what is asked, where the two differ; what is free counts for nothing."""
    return recipe_file.differences(held, asked, _FREE_KEYS)
