"""Prepares a run before its first step: the model on its devices, the optimizer and the plan of the data."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from schemas.errors import ShardloomError, UsageError
from schemas.output_set.lock import lock_output
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml, read_stored_recipe
from schemas.storage.folder import Folder
from training.checkpoint import Checkpoint, RunState, find_latest, list_checkpoints, open_checkpoint
from training.checkpoint_model import build_initial_model, hash_weights, select_frozen
from training.data.build import build_pack_plan
from training.data.plan import PackPlan, check_unchanged
from training.data.templates.prompts import resolve_prompts
from training.flops import FlopCounter, build_flop_counter, count_non_embedding_parameters, measure_peak_flops
from training.metrics import METRICS_FILE, check_trackers
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import TextTokenizer, load_tokenizer
from training.optimizer import freeze, make_optimizer, resolve_learning_rates
from training.parallel import Ranks, lower_tower_precision, parallelize
from training.recipe import TrainRecipe, find_resume_conflicts
from training.run_length import RunLength, share_run_length
from training.sharding.deferred_model import defer_model
from training.step import Trainer

CHECKPOINTS_FOLDER, MODEL_FOLDER = "checkpoints", "model"


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Holds everything that a run needs."""

    folder: Path
    trainer: Trainer
    model: ResamplerLMM  # the trainer's, without wrappers
    tokenizer: TextTokenizer
    plan: PackPlan
    length: RunLength
    frozen_hash: str  # hash of the frozen weights
    tower_weights: dict[str, Tensor]  # a frozen tower's weights as loaded; empty on all ranks but the first
    flops: FlopCounter
    peak_flops: float  # operations per second of one device


def set_up(folder: Path, recipe: TrainRecipe, ranks: Ranks) -> TrainingRun:
    """Builds everything that a run needs. Raises `UsageError` when the recipe asks for what is not available."""
    check_trackers(recipe)
    check_batch_size(recipe, ranks.world_size)
    tokenizer = load_tokenizer(recipe.model)
    deferred = defer_model(recipe, ranks)
    model = deferred.model if deferred else prepare_model(recipe, ranks=ranks)
    check_sequence_length(recipe, model)
    plan = plan_packs(recipe, model, tokenizer)
    length = share_run_length(recipe, plan, ranks)
    flops = build_flop_counter(model)
    lr = resolve_learning_rates(recipe.optimizer, count_non_embedding_parameters(model))
    if deferred:
        whole = parallelize(model, recipe, ranks)
        deferred.fill(model, ranks)
        frozen, tower = _keep_frozen_weights(model, ranks)
        lower_tower_precision(model, recipe)
    else:
        frozen, tower = _keep_frozen_weights(model, ranks)
        whole = parallelize(model, recipe, ranks)
    loss_weights = [recipe.loss_weights.get(name, 1.0) for name in recipe.sources]
    trainer = Trainer(
        recipe,
        ranks,
        whole.train(),
        make_optimizer(whole, recipe.optimizer, lr),
        torch.tensor(loss_weights, dtype=torch.float32, device=ranks.device),
    )
    stated = recipe.run.peak_tflops
    peak = stated * 1e12 if stated else measure_peak_flops(ranks.device, recipe.precision)
    return TrainingRun(folder, trainer, model, tokenizer, plan, length, frozen, tower, flops, peak)


def _keep_frozen_weights(model: ResamplerLMM, ranks: Ranks) -> tuple[str, dict[str, Tensor]]:
    """Returns the hash of the frozen weights, and on the first rank a frozen tower's weights before rounding."""
    weights = select_frozen(model)
    is_gathered = any(isinstance(one, DTensor) for one in weights.values())  # by all ranks
    frozen = hash_weights(weights) if ranks.is_first or is_gathered else ""
    kept = ranks.is_first and model.vision.frozen
    tower = {f"vision.{name}": tensor.cpu() for name, tensor in model.vision.state_dict().items()} if kept else {}
    return ranks.broadcast("frozen", frozen), tower


def prepare_model(recipe: TrainRecipe, device: str = "cpu", ranks: Ranks = Ranks()) -> ResamplerLMM:  # noqa: B008
    """Builds the recipe's model, whole and on one device, and freezes the parts that are not trained."""
    model = build_initial_model(recipe, device, ranks)
    freeze(model, recipe.optimizer.lr)
    return model


def plan_packs(recipe: TrainRecipe, model: ResamplerLMM, tokenizer: TextTokenizer) -> PackPlan:
    """Builds the plan of the data for this model."""
    tower = model.vision
    data = recipe.data.repeat(recipe.epochs or 1)
    return build_pack_plan(data, recipe.model, tokenizer, tower.image_size, tower.patch_size)


def check_batch_size(recipe: TrainRecipe, world_size: int) -> None:
    """Raises `UsageError` when the global batch can't be divided evenly among micro-batches and ranks."""
    if recipe.global_batch_size % (recipe.micro_batch_size * world_size):
        ranks = f"{world_size} rank{'s' if world_size > 1 else ''}"
        raise UsageError(
            f"global_batch_size: {recipe.global_batch_size} can't be divided into micro-batches of "
            f"{recipe.micro_batch_size} on {ranks}; make it a multiple of {recipe.micro_batch_size * world_size}"
        )


def check_sequence_length(recipe: TrainRecipe, model: ResamplerLMM) -> None:
    """Raises `UsageError` when a sequence has more positions than the language model supports."""
    limit = getattr(model.language.lm.config, "max_position_embeddings", None)
    if limit and recipe.data.sequence_length > limit:
        raise UsageError(
            f"data.sequence_length: {recipe.data.sequence_length} positions are more than the language model's {limit};"
            " make it smaller"
        )


@contextlib.contextmanager
def claim_run_folder(folder: Path, recipe: TrainRecipe, resume: str | None, ranks: Ranks) -> Iterator[None]:
    """Locks the folder for this run while the block lasts, and stores the recipe in a new one.

    Raises `UsageError` on all ranks when the folder holds another run or other files, holds this run and `resume` is
    None, or is locked by another process.
    """
    fault = ""
    with contextlib.ExitStack() as held:
        if ranks.is_first:
            try:
                held.enter_context(lock_output(Folder(str(folder)), "train"))
                fault = _find_folder_conflict(folder, recipe, resume)
            except UsageError as error:
                fault = str(error)
        if fault := ranks.broadcast("claim", fault):
            raise UsageError(fault)
        if ranks.is_first:
            _store_recipe(Folder(str(folder)), dump_yaml(recipe.resolve()))
        yield


def _store_recipe(output: Folder, recipe: bytes) -> None:
    """Stores the recipe in a new folder, or the greater number of steps in that of a run."""
    if not output.exists(RECIPE_FILE) or output.read(RECIPE_FILE) != recipe:
        output.write(RECIPE_FILE, recipe)


def _find_folder_conflict(folder: Path, recipe: TrainRecipe, resume: str | None) -> str:
    output = Folder(str(folder))
    if output.exists(RECIPE_FILE):
        if conflicts := find_resume_conflicts(read_stored_recipe(output), recipe.resolve()):
            return f"{folder} holds another run ({'; '.join(conflicts[:4])}): pass a new --output"
        if resume is None and (list_checkpoints(folder / CHECKPOINTS_FOLDER) or output.exists(METRICS_FILE)):
            return f"{folder} holds this run already: pass --resume auto to resume it, or a new --output to start again"
    elif not output.is_empty():
        return f"{folder} is not empty and holds no {RECIPE_FILE}: pass a new --output"
    return ""


def find_checkpoint(resume: str | None, folder: Path, ranks: Ranks) -> Checkpoint | None:
    """Returns the checkpoint to resume from, if any; `auto` is the newest intact one in the run's folder."""
    if resume is None:
        return None
    return find_latest(folder / CHECKPOINTS_FOLDER, ranks) if resume == "auto" else open_checkpoint(Path(resume), ranks)


def check_checkpoint_matches(checkpoint: Checkpoint, run: TrainingRun) -> None:
    """Raises `UsageError` when the checkpoint's recipe, data or frozen weights differ from this run's."""
    stored, where = checkpoint.state, checkpoint.folder
    if conflicts := find_resume_conflicts(stored.recipe, run.trainer.recipe.resolve()):
        raise UsageError(f"{where} belongs to another run: {'; '.join(conflicts[:4])}")
    check_unchanged(stored.data, run.plan.fingerprint)
    if stored.frozen != run.frozen_hash:
        raise UsageError(f"{where}: the frozen weights are not those of its run; load the same ones")


def build_run_state(run: TrainingRun, step: int, cursor: dict[str, int], seen: dict[str, int]) -> RunState:
    """Builds the state that a checkpoint after `step` steps saves."""
    return RunState(
        step, cursor, run.plan.fingerprint, run.frozen_hash, run.trainer.recipe.resolve(), seen, str(Path.cwd())
    )


def export_model(run: TrainingRun) -> Path:
    """Exports the whole model into the run's folder, for `load_pretrained`, and returns the path.

    All ranks gather the weights and the first one writes them. Raises `ShardloomError` on all ranks when it can't.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = cast(dict[str, Tensor], get_model_state_dict(run.model, options=options))
    target = run.folder / MODEL_FOLDER
    fault: str | None = None
    if run.trainer.ranks.is_first:
        try:
            prompts = resolve_prompts(run.tokenizer, run.trainer.recipe.data)
            save_pretrained(run.model, run.tokenizer, target, {**state, **run.tower_weights}, prompts, replace=True)
        except ShardloomError as error:
            fault = str(error)
    run.trainer.ranks.raise_if_any_failed(fault, "exporting the model")
    return target
