"""Prepares a run before its first step: the model on its devices, the optimiser and the plan of the data."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from schemas.errors import ShardloomError, UsageError
from schemas.output_set.lock import locked
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml, held_recipe
from schemas.storage.folder import Folder
from training.checkpoint import Checkpoint, RunState, latest, names, opened
from training.data.build import build_data
from training.data.plan import PackPlan, check_unchanged
from training.flops import Flops, flops_of, measured_peak, non_embedding
from training.metrics import METRICS, check_boards
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_model, save_pretrained
from training.model.tokens import TextTokenizer, load_tokenizer
from training.optimiser import freeze, make_optimiser, rates
from training.parallel import Ranks, spread
from training.recipe import TrainRecipe, differences
from training.step import Trainer

CHECKPOINTS, MODEL = "checkpoints", "model"


@dataclass(frozen=True, slots=True)
class Run:
    """Holds everything that a run needs."""

    folder: Path
    trainer: Trainer
    model: ResamplerLMM  # the trainer's, without wrappers
    tokenizer: TextTokenizer
    plan: PackPlan
    frozen: str  # hash of the frozen weights
    tower: dict[str, Tensor]  # a frozen tower's weights as loaded; empty on all ranks but the first
    flops: Flops
    peak: float  # operations per second of one device


def set_up(folder: Path, recipe: TrainRecipe, ranks: Ranks, quiet: bool) -> Run:
    """Builds everything that a run needs. Raises `UsageError` when the recipe asks for what is not available."""
    check_boards(recipe)
    check_batch(recipe, ranks.count)
    tokenizer = load_tokenizer(recipe.model)
    model = prepared(recipe)
    check_length(recipe, model)
    plan = plan_of(recipe, model, tokenizer, quiet or not ranks.is_first)
    flops = flops_of(model)
    frozen = ranks.told("frozen", hash_of_frozen(model) if ranks.is_first else "")
    kept = ranks.is_first and model.vision.frozen
    tower = {f"vision.{name}": tensor for name, tensor in model.vision.state_dict().items()} if kept else {}
    lr = rates(recipe.optimiser, non_embedding(model))
    whole = spread(model, recipe, ranks)
    multipliers = [recipe.multipliers.get(name, 1.0) for name in recipe.sources]
    trainer = Trainer(
        recipe,
        ranks,
        whole.train(),
        make_optimiser(whole, recipe.optimiser, lr),
        torch.tensor(multipliers, dtype=torch.float32, device=ranks.device),
    )
    stated = recipe.run.peak_tflops
    peak = stated * 1e12 if stated else measured_peak(ranks.device, recipe.precision)
    return Run(folder, trainer, model, tokenizer, plan, frozen, tower, flops, peak)


def prepared(recipe: TrainRecipe, device: str = "cpu") -> ResamplerLMM:
    """Builds the recipe's model, whole and on one device, and freezes the parts that are not trained."""
    model = build_model(recipe.model, device, recipe.start)
    freeze(model, recipe.optimiser.lr)
    return model


def plan_of(recipe: TrainRecipe, model: ResamplerLMM, tokenizer: TextTokenizer, quiet: bool) -> PackPlan:
    """Builds the plan of the data for this model."""
    tower = model.vision
    return build_data(recipe.data, recipe.model, tokenizer, tower.image_size, tower.patch_size, quiet)


def check_batch(recipe: TrainRecipe, ranks: int) -> None:
    """Raises `UsageError` when the global batch can't be divided evenly among micro-batches and ranks."""
    if recipe.sequences % (recipe.micro * ranks):
        raise UsageError(
            f"sequences: {recipe.sequences} per step can't be divided into micro-batches of {recipe.micro} on {ranks}"
            f" rank{'s' if ranks > 1 else ''}; make it a multiple of {recipe.micro * ranks}"
        )


def check_length(recipe: TrainRecipe, model: ResamplerLMM) -> None:
    """Raises `UsageError` when a sequence has more positions than the language model supports."""
    limit = getattr(model.language.lm.config, "max_position_embeddings", None)
    if limit and recipe.data.sequence_length > limit:
        raise UsageError(
            f"data.sequence_length: {recipe.data.sequence_length} positions are more than the language model's {limit};"
            " make it smaller"
        )


@contextlib.contextmanager
def claim(folder: Path, recipe: TrainRecipe, resume: str | None, ranks: Ranks) -> Iterator[None]:
    """Locks the folder for this run while the block lasts, and stores the recipe in a new one.

    Raises `UsageError` on all ranks when the folder holds another run or other files, holds this run and `resume` is
    None, or is locked by another process.
    """
    fault = ""
    with contextlib.ExitStack() as held:
        if ranks.is_first:
            try:
                held.enter_context(locked(Folder(str(folder)), "train"))
                fault = _not_ours(folder, recipe, resume)
            except UsageError as error:
                fault = str(error)
        if fault := ranks.told("claim", fault):
            raise UsageError(fault)
        if ranks.is_first and not (folder / RECIPE_FILE).exists():
            Folder(str(folder)).write(RECIPE_FILE, dump_yaml(recipe.resolved()))
        yield


def _not_ours(folder: Path, recipe: TrainRecipe, resume: str | None) -> str:
    output = Folder(str(folder))
    if output.exists(RECIPE_FILE):
        if faults := differences(held_recipe(output), recipe.resolved()):
            return f"{folder} holds another run ({'; '.join(faults[:4])}): pass a new --output"
        if resume is None and (names(folder / CHECKPOINTS) or output.exists(METRICS)):
            return f"{folder} holds this run already: pass --resume auto to resume it, or a new --output to start again"
    elif not output.is_empty():
        return f"{folder} is not empty and holds no {RECIPE_FILE}: pass a new --output"
    return ""


def found_checkpoint(resume: str | None, folder: Path, ranks: Ranks) -> Checkpoint | None:
    """Returns the checkpoint to resume from, if any; `auto` is the newest intact one in the run's folder."""
    if resume is None:
        return None
    return latest(folder / CHECKPOINTS, ranks) if resume == "auto" else opened(Path(resume), ranks)


def check_fits(checkpoint: Checkpoint, run: Run) -> None:
    """Raises `UsageError` when the checkpoint's recipe, data or frozen weights differ from this run's."""
    held, where = checkpoint.state, checkpoint.folder
    if faults := differences(held.recipe, run.trainer.recipe.resolved()):
        raise UsageError(f"{where} belongs to another run: {'; '.join(faults[:4])}")
    check_unchanged(held.data, run.plan.fingerprint)
    if held.frozen != run.frozen:
        raise UsageError(f"{where}: the frozen weights are not those of its run; load the same ones")


def state_of(run: Run, step: int, cursor: dict[str, int], seen: dict[str, int]) -> RunState:
    """Builds the state that a checkpoint after `step` steps saves."""
    return RunState(step, cursor, run.plan.fingerprint, run.frozen, run.trainer.recipe.resolved(), seen)


def hash_of_frozen(model: ResamplerLMM) -> str:
    """Returns the SHA-256 of the names and values of the frozen weights."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def export(run: Run) -> Path:
    """Exports the whole model into the run's folder, for `load_pretrained`, and returns the path.

    All ranks gather the weights and the first one writes them. Raises `ShardloomError` on all ranks when it can't.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = cast(dict[str, Tensor], get_model_state_dict(run.model, options=options))
    target = run.folder / MODEL
    fault: str | None = None
    if run.trainer.ranks.is_first:
        try:
            data = run.trainer.recipe.data
            prompts = PromptOptions(system=data.system, end_of_chunk=data.end_of_chunk)
            save_pretrained(run.model, run.tokenizer, target, {**state, **run.tower}, prompts, replace=True)
        except ShardloomError as error:
            fault = str(error)
    run.trainer.ranks.agree(fault, "exporting the model")
    return target
