"""Lets a model in training continue a few held-out samples, so that a person sees what its best checkpoint writes.

A sample is cut after its last image, or before the assistant's answer if that comes later, and a text without images in
its middle. The model continues it greedily.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import torch
from torch.distributed.fsdp import FSDPModule

from training.batch import IGNORE_INDEX, Batch, SampleName
from training.data.assemble import Assembler
from training.data.options import HeldOutOptions
from training.data.plan import Pack, PackPlan
from training.evaluation.held_out_parts import HeldOutPart
from training.metrics import truncate_after_step
from training.model.generate import GenerateOptions, generate_answers
from training.parallel import autocast
from training.set_up import TrainingRun

SAMPLES_FILE = "held_out_samples.jsonl"
"""A line for each sample, whenever the loss was the lowest so far: those of the last step are the best checkpoint's."""

PROMPT_CHARACTERS = 200  # of the text before the cut, its end


@dataclass(frozen=True, slots=True)
class GeneratedSample:
    """Holds what the model made of a sample."""

    source: str
    shard: str
    key: str
    prompt: str  # the end of the text before the cut, without images
    expected: str  # how the sample continues, as many tokens as were generated at most
    generated: str


@dataclass(frozen=True, slots=True)
class CutSample:
    """Holds a held-out sample, cut where the model continues it."""

    name: SampleName
    batch: Batch  # one row, up to the cut
    prompt: str
    expected: str


class HeldOutSampler:
    """Generates the continuations of the same samples each time."""

    def __init__(self, run: TrainingRun, samples: list[CutSample], options: HeldOutOptions) -> None:
        self._run, self._samples = run, samples
        self._options = GenerateOptions(max_new_tokens=options.generate_tokens)

    @classmethod
    def build(cls, run: TrainingRun, parts: Sequence[HeldOutPart], options: HeldOutOptions) -> "HeldOutSampler":
        """Reads `options.generate` samples, of all sources in turn; those that can't be used are passed over."""
        limit = getattr(run.model.language.lm.config, "max_position_embeddings", None)
        longest = run.trainer.recipe.data.sequence_length if limit is None else limit - options.generate_tokens
        fitting = (one for one in _cut_in_turn(parts, options.generate_tokens) if one.batch.tokens.shape[1] <= longest)
        return cls(run, list(islice(fitting, options.generate)), options)

    def generate(self) -> list[GeneratedSample]:
        """Generates all continuations; ranks that share a sharded model must all call it."""
        model, trainer = self._run.model, self._run.trainer
        if isinstance(model, FSDPModule):
            model.unshard()  # else only its own forward would gather the embeddings and the head
        elif not trainer.ranks.is_first:
            return []
        trainer.model.eval()
        try:
            return [self._continue(one) for one in self._samples]
        finally:
            trainer.model.train()

    def _continue(self, sample: CutSample) -> GeneratedSample:
        trainer, tokenizer = self._run.trainer, self._run.tokenizer
        batch = sample.batch.to(trainer.ranks.device)
        with torch.no_grad(), autocast(trainer.recipe, trainer.ranks):  # an inference tensor could not train later
            (answer,) = generate_answers(self._run.model, tokenizer, batch, self._options)
        name = sample.name
        return GeneratedSample(name.source, name.shard, name.key, sample.prompt, sample.expected, answer.text)


class HeldOutSamplesFile:
    """Keeps the generated samples in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SAMPLES_FILE

    def truncate_after_step(self, step: int) -> None:
        """Removes the samples of later steps, because the run takes these steps again."""
        if self._path.exists():
            truncate_after_step(self._path, step)

    def append(self, step: int, samples: Sequence[GeneratedSample]) -> None:
        """Adds the samples that the model after `step` has generated."""
        if samples:
            with self._path.open("a") as file:
                file.write("".join(json.dumps({"step": step, **asdict(one)}) + "\n" for one in samples))


def _cut_in_turn(parts: Sequence[HeldOutPart], tokens: int) -> Iterator[CutSample]:
    """Yields samples, cut, one of each source or set in turn."""
    sources = [_cut_source(part, number, tokens) for part in parts for number in range(len(part.names))]
    for turn in zip_longest(*sources):
        yield from (one for one in turn if one is not None)


def _cut_source(part: HeldOutPart, source: int, tokens: int) -> Iterator[CutSample]:
    """Yields the samples of one source, without those that can't be read or continued."""
    assembler = Assembler(part.plan)
    for pack in part.packs:
        for place in np.flatnonzero(pack.sources == source).tolist():
            one = _select_one(pack, place)
            batch, bad_samples = assembler.assemble(one)
            if not bad_samples and (cut := _cut(part.plan, batch, int(one.lengths[0]), tokens)) is not None:
                yield cut


def _select_one(pack: Pack, place: int) -> Pack:
    """Returns a pack of one of the samples."""
    chosen = slice(place, place + 1)
    return replace(
        pack,
        sources=pack.sources[chosen],
        samples=pack.samples[chosen],
        pieces=pack.pieces[chosen],
        lengths=pack.lengths[chosen],
        tiles=pack.tiles[chosen],
    )


def _cut(plan: PackPlan, batch: Batch, length: int, tokens: int) -> CutSample | None:
    """Cuts the one sample of a batch; None if nothing follows its last image that a model is trained to write."""
    tokenizer = plan.sequence_format.tokenizer
    ids = batch.tokens[0, :length]
    labelled = torch.nonzero(batch.labels[0, :length] != IGNORE_INDEX)[:, 0]
    images = torch.nonzero(ids == tokenizer.special.image)[:, 0]
    after = labelled[labelled >= images[-1]] if len(images) else labelled[len(labelled) // 2 :]
    if not len(after):
        return None
    end = int(after[0]) + 1  # a label is predicted from the position before it
    rows = ("tokens", "labels", "positions", "segments", "sources", "instructions")
    prompt = tokenizer.decode([number for number in ids[:end].tolist() if number != tokenizer.special.image])
    return CutSample(
        name=batch.samples[0][0],
        batch=replace(batch, **{name: getattr(batch, name)[:, :end] for name in rows}),
        prompt=prompt[-PROMPT_CHARACTERS:],
        expected=tokenizer.decode(ids[end : end + tokens].tolist(), keep_special=False),
    )
