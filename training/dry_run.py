"""Describes a run without training: sizes, memory, and the first packed sequence as text. It writes no file."""

from collections.abc import Iterator
from itertools import pairwise

from schemas.errors import UsageError
from schemas.terminal import visible
from training.batch import PADDING, Batch
from training.data.loader import PackLoader
from training.data.plan import Cursor
from training.flops import Flops, flops_of, non_embedding
from training.memory import Memory, memory_of
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer, load_tokenizer
from training.optimiser import rates
from training.parallel import kind_of
from training.recipe import TrainRecipe
from training.set_up import check_batch, check_length, plan_of, prepared


def dry_run(recipe: TrainRecipe, ranks: int = 1) -> Iterator[str]:
    """Yields the report for `ranks` ranks in two parts: sizes, which need no data, and the first sequence.

    Raises `UsageError` for what training would refuse.
    """
    if ranks < 1:
        raise UsageError(f"--ranks {ranks}: must be at least 1")
    check_batch(recipe, ranks)
    kind = kind_of(recipe.parallel, ranks)
    tokenizer = load_tokenizer(recipe.model)
    model = prepared(recipe, "meta")
    check_length(recipe, model)
    lines = [*_sizes(model), "", *_memory(memory_of(model, recipe, ranks, kind), ranks, kind), ""]
    yield "\n".join([*lines, *_steps(recipe, model), ""])
    plan = plan_of(recipe, model, tokenizer, quiet=False)
    first = next(iter(PackLoader(plan, sequences=1).steps(Cursor(0, 0))), None)
    if first is None:
        raise UsageError("data: the mixture has no sample that fits a sequence; check data.sources")
    batch = first.batches[0]
    yield "\n".join([*_step(flops_of(model), batch, recipe), "", in_words(batch, tokenizer)])


def in_words(batch: Batch, tokenizer: TextTokenizer, row: int = 0) -> str:
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
        lines.append(_text(tokens[start:end], f"{name.source}/{name.key}", tokenizer))
    return "\n".join(lines)


def _text(tokens: list[int], name: str, tokenizer: TextTokenizer) -> str:
    image, parts, at = tokenizer.special.image, [], 0
    while at < len(tokens):
        end = at
        while end < len(tokens) and (tokens[end] == image) == (tokens[at] == image):
            end += 1
        is_image = tokens[at] == image
        parts.append(f"[image {end - at} tokens: {name}]" if is_image else tokenizer.decode(tokens[at:end]))
        at = end
    return "\n".join(map(visible, "".join(parts).split("\n")))


def _sizes(model: ResamplerLMM) -> list[str]:
    total = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return [f"parameters  {total:,}, of which {learning:,} are trained"]


def _memory(memory: Memory, ranks: int, kind: str) -> list[str]:
    how = {"fsdp": f"sharded over {ranks}", "ddp": f"whole on each of {ranks}", "none": "on one"}[kind]
    lines = [f"memory per device, {how}:"]
    lines.append(f"  {'':16}{'parameters':>15}{'trained':>15}{'weights':>10}{'gradients':>11}{'moments':>10}")
    for part in memory.parts:
        sizes = f"{_bytes(part.weights):>10}{_bytes(part.gradients):>11}{_bytes(part.moments):>10}"
        lines.append(f"  {part.name:16}{part.parameters:>15,}{part.trainable:>15,}{sizes}")
    if memory.gathered:
        lines.append(f"  gathered for use, at most: {_bytes(memory.gathered)}")
    lines.append(f"  activations, estimated: {_bytes(memory.activations)}")
    return [*lines, f"  together: {_bytes(memory.total)}, plus the device's libraries"]


def _steps(recipe: TrainRecipe, model: ResamplerLMM) -> list[str]:
    tokens = recipe.sequences * recipe.data.sequence_length
    lr = rates(recipe.optimiser, non_embedding(model)).model_dump()
    shown = ", ".join(f"{name} {rate:.3g}" if rate else f"{name} frozen" for name, rate in lr.items())
    return [
        f"a step      {recipe.sequences:,} sequences of {recipe.data.sequence_length:,}: {tokens:,} tokens at most",
        f"steps       {recipe.steps:,}: {tokens * recipe.steps:,} tokens at most",
        f"rates       {shown}; {recipe.schedule.shape}, {recipe.schedule.warmup:,} steps of warm-up",
    ]


def _step(flops: Flops, batch: Batch, recipe: TrainRecipe) -> list[str]:
    one = flops.of([batch])
    filled = float((batch.segments != PADDING).double().mean())
    images = f"{len(batch.grids)} images in {len(batch.tiles)} tiles"
    labels = int((batch.labels != -100).sum())
    return [
        f"the first sequence: {len(batch.samples[0])} samples, {images}, {labels:,} positions in the loss, "
        f"{filled:.1%} filled; {one / 1e12:.3g} TFLOP, and about {recipe.sequences * one / 1e12:.3g} in such a step"
    ]


def _bytes(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count} B"
        count /= 1000  # type: ignore[assignment]
    return f"{count:,.2f} GB"
