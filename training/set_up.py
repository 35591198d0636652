"""What has to be there before the first step: the model on its devices, the optimiser, the plan of the data."""

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
    """All that a run works with."""

    folder: Path
    trainer: Trainer
    model: ResamplerLMM  # the trainer's, without what was wrapped around it
    tokenizer: TextTokenizer
    plan: PackPlan
    frozen: str  # hash of the weights that don't learn
    tower: dict[str, Tensor]  # a frozen tower's, as they came; of the first rank
    flops: Flops
    peak: float  # operations a second of one device


def set_up(folder: Path, recipe: TrainRecipe, ranks: Ranks, quiet: bool) -> Run:
    """Builds everything. Raises `UsageError` for what the recipe asks and can't be had."""
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
    """The model as the recipe has it, on one device and whole, with what doesn't learn frozen."""
    model = build_model(recipe.model, device, recipe.start)
    freeze(model, recipe.optimiser.lr)
    return model


def plan_of(recipe: TrainRecipe, model: ResamplerLMM, tokenizer: TextTokenizer, quiet: bool) -> PackPlan:
    """The plan of the data for this model."""
    tower = model.vision
    return build_data(recipe.data, recipe.model, tokenizer, tower.image_size, tower.patch_size, quiet)


def check_batch(recipe: TrainRecipe, ranks: int) -> None:
    """Raises `UsageError` when the batch can't be shared out evenly."""
    if recipe.sequences % (recipe.micro * ranks):
        raise UsageError(
            f"sequences: {recipe.sequences} a step can't be shared out in micro-batches of {recipe.micro} on {ranks}"
            f" rank{'s' if ranks > 1 else ''}; make it a multiple of {recipe.micro * ranks}"
        )


def check_length(recipe: TrainRecipe, model: ResamplerLMM) -> None:
    """Raises `UsageError` when a sequence has positions that the language model was not made for."""
    limit = getattr(model.language.lm.config, "max_position_embeddings", None)
    if limit and recipe.data.sequence_length > limit:
        raise UsageError(
            f"data.sequence_length: {recipe.data.sequence_length} positions are more than the language model's {limit};"
            " make it smaller"
        )


@contextlib.contextmanager
def claim(folder: Path, recipe: TrainRecipe, resume: str | None, ranks: Ranks) -> Iterator[None]:
    """Makes the folder this run's, for as long as the block takes.

    Raises `UsageError` on all ranks when it is another's, holds a run already, or another process is at work in it.
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
            return f"{folder} holds another run ({'; '.join(faults[:4])}): take a new --output"
        if resume is None and (names(folder / CHECKPOINTS) or output.exists(METRICS)):
            return f"{folder} holds this run already: --resume auto goes on with it, a new --output begins again"
    elif not output.is_empty():
        return f"{folder} is not empty and holds no {RECIPE_FILE}: take a new --output"
    return ""


def found_checkpoint(resume: str | None, folder: Path, ranks: Ranks) -> Checkpoint | None:
    """The checkpoint to go on from: `auto` is the newest that is whole, if there is one."""
    if resume is None:
        return None
    return latest(folder / CHECKPOINTS, ranks) if resume == "auto" else opened(Path(resume), ranks)


def check_fits(checkpoint: Checkpoint, run: Run) -> None:
    """Raises `UsageError` when the checkpoint is of another run: another recipe, other data, another frozen part."""
    held, where = checkpoint.state, checkpoint.folder
    if faults := differences(held.recipe, run.trainer.recipe.resolved()):
        raise UsageError(f"{where} is of another run: {'; '.join(faults[:4])}")
    check_unchanged(held.data, run.plan.fingerprint)
    if held.frozen != run.frozen:
        raise UsageError(f"{where}: the weights that are frozen are not those of that run; load the same ones")


def state_of(run: Run, step: int, cursor: dict[str, int], seen: dict[str, int]) -> RunState:
    """What a checkpoint after `step` steps says."""
    return RunState(step, cursor, run.plan.fingerprint, run.frozen, run.trainer.recipe.resolved(), seen)


def hash_of_frozen(model: ResamplerLMM) -> str:
    """Of the weights that take no gradient, by name; the same for the same numbers."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def export(run: Run) -> Path:
    """Writes the model, whole, for `from_pretrained`; by the first rank, with all ranks' help."""
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
