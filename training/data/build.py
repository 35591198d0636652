"""Builds the plan of a run's packs from its options: the tables, the mixture and the sequence format."""

import hashlib
import json

import numpy as np

from curation.mixture.options import get_source_name
from curation.mixture.plan import Mixture, Source, plan_mixture
from curation.mixture.sources import open_sources
from schemas.errors import UsageError
from training.data.counting import PartTokenCounter
from training.data.images import ImageTiler
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.plan import PackPlan, Sources
from training.data.sequence import SequenceFormat
from training.data.tables import SampleTable, TableMaker
from training.model.config import ModelOptions
from training.model.tokens import TextTokenizer

_STORED_TEXT = SourceTextOptions()

PACKING_VERSION = 2  # 2: conversations that are too long are cut; a run that left them out can't continue


def build_pack_plan(
    options: DataOptions,
    model: ModelOptions,
    tokenizer: TextTokenizer,
    image_size: int,
    patch_size: int,
) -> PackPlan:
    """Builds the plan of a run's packs.

    `image_size` and `patch_size` are the vision tower's, in pixels. Makes a source's table of lengths first if it is
    missing, and logs its progress. Raises `UsageError`, naming the source, if one is not a finished set, has no
    samples, or has samples that the connector cannot take.
    """
    tokens_per_tile = model.connector.count_tokens_per_tile((image_size // patch_size) ** 2)
    markup = Markup.from_tokenizer(tokenizer, options, tokens_per_tile)
    shape = ImageTiler(model.any_resolution, image_size, patch_size, tokens_per_tile)
    names = list(options.sources)
    sets = open_sources(names, options.sources, options.images)
    rules = [options.texts.get(name, _STORED_TEXT) for name in names]
    tables = []
    for source, rule in zip(sets, rules, strict=True):
        counter = PartTokenCounter(tokenizer, rule, options.seed)
        tables.append(TableMaker(counter, markup, shape, options.cache).open(source))
        if model.connector.needs_conversations:
            _check_has_conversations(source.name, tables[-1], model.connector.kind)
    paths = list(options.shares)
    numbers = [names.index(get_source_name(path)) for path in paths]
    measured = () if options.unit == "samples" else (options.unit,)
    sources = [
        Source(path, sets[number].length, {name: tables[number].numbers[name] for name in measured})
        for path, number in zip(paths, numbers, strict=True)
    ]
    repeats = {path: options.repeats[name] for path in paths if (name := get_source_name(path)) in options.repeats}
    plan = plan_mixture(Mixture(options.shares, options.unit, repeats, options.stop, options.seed), sources)
    fingerprint = {f"source {one.name}": _hash([found.sha256 for found in one.revisions]) for one in sets}
    fingerprint |= {
        "the mixture": plan.fingerprint,
        "the tokenizer": _hash(tokenizer.fingerprint.model_dump(mode="json")),
        "the image size": _hash(shape.fingerprint),
        "the packing": _hash(
            [PACKING_VERSION, options.sequence_length, options.tiles_per_sequence, options.packing_window]
        ),
        "the text": _hash([markup.fingerprint, [rule.model_dump(mode="json") for rule in rules]]),
    }
    form = SequenceFormat(
        max_tokens=options.sequence_length,
        max_tiles=options.tiles_per_sequence,
        window=options.packing_window,
        tokenizer=tokenizer,
        markup=markup,
        tiler=shape,
    )
    return PackPlan(plan, Sources(names, tables, rules, np.asarray(numbers, np.int64)), form, fingerprint)


def _check_has_conversations(name: str, table: SampleTable, kind: str) -> None:
    if found := table.rows.find_image_outside_conversations():
        raise UsageError(
            f"data.sources.{name}: {found} has an image but is no conversation, and model.connector {kind} takes its "
            "instruction from the first user turn: leave the source out, or use kind: perceiver"
        )


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
