"""Describes a run without training: sizes, memory, and the first packed sequence as text. It writes no file."""

import contextlib
from collections.abc import Iterator
from itertools import pairwise

from schemas.errors import UsageError
from schemas.terminal import escape_controls
from training.batch import PADDING, Batch
from training.data.loader import PackLoader
from training.evaluation.held_out_parts import pack_held_out
from training.flops import FlopCounter, build_flop_counter, count_non_embedding_parameters
from training.memory import MemoryEstimate, estimate_memory
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer, load_tokenizer
from training.optimizer import resolve_learning_rates
from training.parallel import resolve_parallelism
from training.recipe import TrainRecipe
from training.run_length import RunLength, compute_run_length, describe_pass, find_length_faults
from training.set_up import check_batch_size, check_sequence_length, plan_packs, prepare_model


def dry_run(recipe: TrainRecipe, world_size: int = 1) -> Iterator[str]:
    """Yields the report for `world_size` ranks in parts: sizes, which need no data, the length, the first sequence.

    Raises `UsageError` for what training would refuse.
    """
    if world_size < 1:
        raise UsageError(f"--ranks {world_size}: must be at least 1")
    check_batch_size(recipe, world_size)
    kind = resolve_parallelism(recipe.parallel, world_size)
    tokenizer = load_tokenizer(recipe.model)
    model = prepare_model(recipe, "meta")
    check_sequence_length(recipe, model)
    lines = [
        *_format_sizes(model),
        "",
        *_format_memory(estimate_memory(model, recipe, world_size, kind), world_size, kind),
        "",
    ]
    yield "\n".join([*lines, *_format_steps(recipe, model), ""])
    plan = plan_packs(recipe, model, tokenizer)
    if recipe.data.held_out is not None:
        pack_held_out(plan, recipe.data.held_out)
    length = compute_run_length(recipe, plan)
    yield "\n".join([*_format_length(recipe, length), ""])
    with contextlib.closing(PackLoader(plan, global_batch_size=1)) as loader:
        first = next(loader.iterate_steps(), None)
    if first is None:
        raise UsageError("data: the mixture has no sample that fits a sequence; check data.sources")
    batch = first.batches[0]
    yield "\n".join(
        [*_format_first_sequence(build_flop_counter(model), batch, recipe), "", describe_sequence(batch, tokenizer)]
    )


def describe_sequence(batch: Batch, tokenizer: TextTokenizer, row: int = 0) -> str:
    """Renders one sequence as text: the start and the text of each sample, and a mark for each image's tokens."""
    tokens, segments = batch.tokens[row].tolist(), batch.segments[row].tolist()
    ends = [0, *(at for at in range(1, len(tokens)) if segments[at] != segments[at - 1]), len(tokens)]
    lines = []
    for start, end in pairwise(ends):
        if segments[start] == PADDING:
            lines.append(f"--- padding: {end - start} positions")
            continue
        name = batch.samples[row][segments[start]]
        lines.append(f"--- sample {segments[start] + 1}: {name.source} {name.key}, {end - start} positions")
        lines.append(_format_tokens(tokens[start:end], f"{name.source}/{name.key}", tokenizer))
    return "\n".join(lines)


def _format_tokens(tokens: list[int], name: str, tokenizer: TextTokenizer) -> str:
    image, parts, at = tokenizer.special.image, [], 0
    while at < len(tokens):
        end = at
        while end < len(tokens) and (tokens[end] == image) == (tokens[at] == image):
            end += 1
        is_image = tokens[at] == image
        parts.append(f"[image {end - at} tokens: {name}]" if is_image else tokenizer.decode(tokens[at:end]))
        at = end
    return "\n".join(map(escape_controls, "".join(parts).split("\n")))


def _format_sizes(model: ResamplerLMM) -> list[str]:
    total = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return [f"parameters  {total:,}, of which {learning:,} are trained"]


def _format_memory(memory: MemoryEstimate, world_size: int, kind: str) -> list[str]:
    how = {"fsdp": f"sharded over {world_size}", "ddp": f"whole on each of {world_size}", "none": "on one"}[kind]
    lines = [f"memory per device, {how}:"]
    lines.append(f"  {'':16}{'parameters':>15}{'trained':>15}{'weights':>10}{'gradients':>11}{'moments':>10}")
    for part in memory.parts:
        sizes = f"{_format_bytes(part.weights):>10}{_format_bytes(part.gradients):>11}{_format_bytes(part.moments):>10}"
        lines.append(f"  {part.name:16}{part.parameters:>15,}{part.trainable:>15,}{sizes}")
    if memory.gathered:
        lines.append(f"  gathered for use, at most: {_format_bytes(memory.gathered)}")
    if memory.reduced:
        lines.append(f"  gradients being summed, at most: {_format_bytes(memory.reduced)}")
    lines.append(f"  activations, estimated: {_format_bytes(memory.activations)}")
    return [*lines, f"  together: {_format_bytes(memory.total)}, plus the device's libraries"]


def _format_steps(recipe: TrainRecipe, model: ResamplerLMM) -> list[str]:
    batch = recipe.global_batch_size
    lr = resolve_learning_rates(recipe.optimizer, count_non_embedding_parameters(model)).model_dump()
    shown = ", ".join(f"{name} {rate:.3g}" if rate else f"{name} frozen" for name, rate in lr.items())
    return [
        f"a step      {batch:,} sequences of {recipe.data.sequence_length:,}: {_count_tokens(recipe, 1)}",
        *([] if recipe.steps is None else [f"steps       {recipe.steps:,}: {_count_tokens(recipe, recipe.steps)}"]),
        f"rates       {shown}; {recipe.schedule.shape}, {recipe.schedule.warmup_steps:,} steps of warm-up",
    ]


def _format_length(recipe: TrainRecipe, length: RunLength) -> list[str]:
    epochs = recipe.epochs
    lines = (
        []
        if epochs is None
        else [f"epochs      {epochs:,}: {length.steps:,} steps, {_count_tokens(recipe, length.steps)}"]
    )
    return [
        *lines,
        describe_pass(recipe, length),
        *(f"warning: {fault}" for fault in find_length_faults(recipe, length)),
    ]


def _count_tokens(recipe: TrainRecipe, steps: int) -> str:
    return f"{recipe.global_batch_size * recipe.data.sequence_length * steps:,} tokens at most"


def _format_first_sequence(flops: FlopCounter, batch: Batch, recipe: TrainRecipe) -> list[str]:
    one = flops.count([batch])
    filled = float((batch.segments != PADDING).double().mean())
    images = f"{len(batch.grids)} images in {len(batch.tiles)} tiles"
    labels = int((batch.labels != -100).sum())
    return [
        f"the first sequence: {len(batch.samples[0])} samples, {images}, {labels:,} positions in the loss, "
        f"{filled:.1%} filled; {one / 1e12:.3g} TFLOP, "
        f"and about {recipe.global_batch_size * one / 1e12:.3g} in such a step"
    ]


def _format_bytes(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count} B"
        count /= 1000  # type: ignore[assignment]
    return f"{count:,.2f} GB"
