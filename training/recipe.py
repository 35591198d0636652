"""Defines the typed recipe of a training run, with the reason for each default beside it.

As in `pipelines.recipes.base`, one half of the recipe decides the result, is written to `OUT/recipe.yaml` and must be
the same when a run resumes. The other half (`CHANGEABLE_KEYS`) may differ: it changes a result by rounding at most.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from schemas.errors import UsageError
from schemas.masking import mask_values
from schemas.output_set import recipe_file
from schemas.output_set.options import Options, RecipePath
from schemas.output_set.recipe_file import apply_override, dump_yaml, format_value, validate_options
from schemas.output_set.recipe_layers import read_merged_recipe
from schemas.output_set.recipe_paths import anchor_paths
from schemas.storage.folder import Folder
from training.data.options import DataOptions
from training.model.config import ModelOptions
from training.model.init_changes import InitChange
from training.renamed_keys import rename_keys

CHANGEABLE_KEYS = (
    "run",
    "checkpoint",
    "micro_batch_size",
    "parallel",
    "reduce_gradients",
    "activation_checkpointing",
    "compile",
)
CHANGEABLE_DATA_KEYS = ("workers", "prefetch", "cache", "max_bad_samples", "images")

_ALL_CHANGEABLE_KEYS = {*CHANGEABLE_KEYS, *(f"data.{name}" for name in CHANGEABLE_DATA_KEYS)}

ParameterGroup = Literal["tower", "connector", "language"]
"""A part of the model that has its own learning rate."""

Beta = Annotated[float, Field(ge=0, lt=1)]
"""The decay of one of Adam's running means per step."""


class LearningRates(Options):
    """Sets the peak learning rate of each part; 0 freezes the part."""

    tower: NonNegativeFloat = Field(0.0, description="frozen, as in all of xGen-MM's stages")
    connector: NonNegativeFloat = Field(2e-5, description="as in xGen-MM's fine-tuning; pre-training's is unpublished")
    language: NonNegativeFloat = Field(2e-5, description="as for the connector")


class OptimizerOptions(Options):
    """Sets the options of AdamW."""

    lr: LearningRates = LearningRates()
    lr_rule: Literal["mm1"] | None = Field(
        None, description="mm1: the language model's size sets the rate of every part that is not frozen"
    )
    betas: tuple[Beta, Beta] = Field((0.9, 0.999), description="torch's defaults, which xGen-MM keeps")
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = Field(
        0.0, description="as in xGen-MM's fine-tuning; OpenFlamingo pre-trains with 0.1"
    )
    weight_decay_on: Literal["matrices", "all"] = Field(
        "matrices", description="excludes norms, biases and trained queries, which need no small scale; xGen-MM: all"
    )
    max_grad_norm: PositiveFloat | None = Field(
        1.0, description="maximum gradient norm, applied once per step; xGen-MM: per micro-batch"
    )


class ScheduleOptions(Options):
    """Sets how the learning rate changes over the steps, relative to its peak."""

    shape: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = Field(2000, ge=0, description="steps from 0 to the peak; as in xGen-MM's fine-tuning")


class CheckpointOptions(Options):
    """Sets when checkpoints are written and how many are kept."""

    every: PositiveInt = Field(
        1000, description="steps between checkpoints; one more is written when a run ends or stops"
    )
    keep: PositiveInt = Field(2, description="newest checkpoints to keep; if one is damaged, another is left")
    asynchronous: bool = Field(True, description="training continues while a copy in host memory is written")


class TrainRunOptions(Options):
    """Sets how a run is carried out; none of these options can change its result."""

    output: RecipePath | None = Field(None, description="the run's folder, on a disk that all ranks see; or --output")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda if available")
    log_every: PositiveInt = Field(1, description="steps between lines of metrics.jsonl")
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="in addition to metrics.jsonl; the package must be installed"
    )
    peak_tflops: PositiveFloat | None = Field(
        None, description="one device's peak, for the MFU; default: measured here on a large matrix product"
    )
    timeout_seconds: PositiveFloat = Field(
        1800.0, description="seconds that a rank waits for the others before it fails"
    )
    stall_seconds: PositiveFloat = Field(
        60.0, description="seconds without progress after which a reader is named, with its shard; training waits on"
    )


class TrainRecipe(Options):
    """Describes a whole training run."""

    kind: Literal["train"] = "train"
    model: ModelOptions
    init_from: RecipePath | None = Field(
        None,
        description="a model exported by an earlier stage, or a checkpoint of it, whose weights training starts from",
    )
    init_changes: tuple[InitChange, ...] = Field(
        (),
        exclude_if=lambda named: not named,  # as in the stored recipes of runs that began without the option
        description="options in which the model of init_from may differ: with connector.latents, 64 become 128 or the "
        "reverse. Weights that both have are kept, others are drawn",
    )
    data: DataOptions
    optimizer: OptimizerOptions = OptimizerOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    steps: PositiveInt | None = Field(None, description="optimizer steps; the schedule ends at the last")
    epochs: PositiveInt | None = Field(
        None,
        validate_default=True,
        description="in place of steps: passes through the mixture, counted before the start",
    )
    global_batch_size: PositiveInt = Field(description="packed sequences per step over all ranks")
    micro_batch_size: PositiveInt = Field(1, description="sequences a rank processes at once; as many as fit")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="bf16: weights, gradients and sums stay in fp32")
    parallel: Literal["auto", "none", "ddp", "fsdp"] = Field(
        "auto", description="auto: fsdp if there are several ranks"
    )
    reduce_gradients: Literal["step", "micro_batch"] = Field(
        "step",
        description="when fsdp sums gradients over the ranks. step: once, which sends the least, but a rank keeps whole"
        " gradients from the first micro-batch on. micro_batch: a rank keeps its shard of them, and each micro-batch"
        " sends as much as a step",
    )
    activation_checkpointing: bool = Field(
        False, description="saves memory, for a third more computation in the layers"
    )
    compile: bool = Field(False, description="torch.compile every decoder and connector layer")
    loss_weights: dict[str, NonNegativeFloat] = Field(
        {}, description="factor of the loss by source; 1 for sources not named"
    )
    checkpoint: CheckpointOptions = CheckpointOptions()
    seed: int = Field(0, description="seeds dropout; data.seed seeds the order of samples, model.seed the new weights")
    run: TrainRunOptions = TrainRunOptions()

    @field_validator("init_changes")
    @classmethod
    def _check_has_init(cls, changes: tuple[InitChange, ...], info: ValidationInfo) -> tuple[InitChange, ...]:
        if changes and info.data.get("init_from") is None:
            raise ValueError("there is no init_from whose model could differ: leave it out")
        return changes

    @field_validator("epochs")
    @classmethod
    def _check_length(cls, epochs: int | None, info: ValidationInfo) -> int | None:
        if "steps" in info.data and (info.data["steps"] is None) == (epochs is None):
            raise ValueError("give either steps or epochs; steps=null or epochs=null takes one back")
        endless = (
            [name for name, times in info.data["data"].repeats.items() if times is None] if "data" in info.data else []
        )
        if epochs is not None and endless:
            raise ValueError(
                f"data.repeats has no limit for {', '.join(endless)}, so that no pass through the data ends: "
                "give steps, or a number of repeats"
            )
        return epochs

    @field_validator("loss_weights")
    @classmethod
    def _check_loss_weight_sources(cls, named: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        data = info.data.get("data")
        unknown = [name for name in named if data is not None and name not in data.sources]
        if unknown:
            raise ValueError(f"there is no source {unknown[0]!r}")
        return dict(sorted(named.items()))

    @property
    def sources(self) -> list[str]:
        """Returns the names of the sources, in the order of the numbers in `Batch.sources`."""
        return list(self.data.sources)

    def resolve(self) -> dict[str, Any]:
        """Returns the half of the recipe that decides the result, as plain data without secrets of URLs."""
        values = self.model_dump(
            mode="json", exclude={"data": set(CHANGEABLE_DATA_KEYS), **dict.fromkeys(CHANGEABLE_KEYS, True)}
        )
        return mask_values(values)  # type: ignore[no-any-return]

    def to_yaml(self) -> bytes:
        """Returns the whole recipe as the YAML of a recipe file, without secrets of URLs."""
        return dump_yaml(mask_values(self.model_dump(mode="json")))


def load_train_recipe(path: str, overrides: list[str] | None = None, output: str | None = None) -> TrainRecipe:
    """Loads the recipe in a YAML file and applies overrides, `key=value` with dotted keys and YAML values.

    Raises `UsageError` that names any unknown key, and the new name of a key that has been renamed.
    """
    values = read_merged_recipe(path, lambda layer, file: anchor_paths(layer, TrainRecipe, file))
    if values.get("kind", "train") != "train":
        raise UsageError(f"recipe {path} is of the kind {format_value(values['kind'])}, not 'train'")
    for override in overrides or []:
        apply_override(values, override)
    if output is not None:
        apply_override(values, f"run.output={yaml.safe_dump(output)}")
    if renamed := rename_keys(values)[1]:
        raise UsageError(f"recipe {path}: {'; '.join(renamed)}")
    return validate_options(TrainRecipe, values, path)


def require_output_folder(recipe: TrainRecipe) -> Path:
    """Returns the run's folder. Raises `UsageError` when the recipe names none, or a URL."""
    output = recipe.run.output
    if output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    if "://" in output:
        raise UsageError(f"run.output {output}: a run's folder must be on a disk that all ranks see, not at a URL")
    Folder(output).check_output()
    return Path(output)


def find_resume_conflicts(stored: dict[str, Any], requested: dict[str, Any]) -> list[str]:
    """Lists the differences between a folder's stored recipe and the requested one, but for the free keys.

    Secrets in URLs, which older stored recipes may hold, do not count. More steps are free where the schedule is
    constant: then the steps so far are the same.
    """
    renamed = mask_values(rename_keys(stored)[0])
    return recipe_file.compare_recipes(
        renamed, requested, _ALL_CHANGEABLE_KEYS | ({"steps"} if _has_more_steps(renamed, requested) else set())
    )


def _has_more_steps(stored: dict[str, Any], requested: dict[str, Any]) -> bool:
    before, now, schedule = stored.get("steps"), requested.get("steps"), requested.get("schedule")
    is_constant = isinstance(schedule, dict) and schedule.get("shape") == "constant"
    return is_constant and isinstance(before, int) and isinstance(now, int) and before < now
