"""Builds the plan of a run's packs from its options: the tables, the mixture and the sequence format."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curation.mixture.held_out import HeldOut
from curation.mixture.image_tokens import MULTIMODAL_TOKENS
from curation.mixture.options import get_source_name
from curation.mixture.plan import Mixture, Source, plan_mixture
from curation.mixture.sources import SourceSet, open_sources
from schemas.errors import UsageError
from training.data.counting import PartTokenCounter
from training.data.held_out.sets import check_no_overlap, make_held_out_set_options
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
    samples, or has samples that the model cannot take: any with images, if it has no tower.
    """
    tokens_per_tile = model.count_tokens_per_tile((image_size // patch_size) ** 2)
    markup = Markup.from_tokenizer(tokenizer, options, tokens_per_tile, model.any_resolution.fixed_sampling)
    shape = ImageTiler(model.any_resolution, image_size, patch_size, tokens_per_tile)
    names = list(options.sources)
    sets = open_sources(names, options.sources, options.images)
    rules = [options.texts.get(name, _STORED_TEXT) for name in names]
    own = {name: tiling.apply_to(model.any_resolution) for name, tiling in options.any_resolution.items()}
    tilers = [replace(shape, options=own.get(name, model.any_resolution)) for name in names]
    tables = []
    for source, rule, tiler in zip(sets, rules, tilers, strict=True):
        counter = PartTokenCounter(tokenizer, rule, options.seed)
        tables.append(TableMaker(counter, markup, tiler, options.cache).open(source))
        if model.vision is None:
            _check_has_no_images(source.name, tables[-1])
        elif model.connector.needs_conversations:
            _check_has_conversations(source.name, tables[-1], model.connector.kind)
    paths = list(options.shares)
    numbers = [names.index(get_source_name(path)) for path in paths]
    sources = [
        Source(path, sets[number].length, _select_measures(options, tables[number], markup))
        for path, number in zip(paths, numbers, strict=True)
    ]
    repeats = {path: options.repeats[name] for path in paths if (name := get_source_name(path)) in options.repeats}
    plan = plan_mixture(Mixture(options.shares, options.unit, repeats, options.stop, options.seed), sources)
    fingerprint = {f"source {one.name}": _hash([found.sha256 for found in one.revisions]) for one in sets}
    fingerprint |= {
        "the mixture": plan.fingerprint,
        "the tokenizer": _hash(tokenizer.fingerprint.model_dump(mode="json")),
        "the image size": _hash(_describe_tilers(shape, tilers)),
        "the packing": _hash(
            [PACKING_VERSION, options.sequence_length, options.tiles_per_sequence, options.packing_window]
        ),
        "the text": _hash([markup.fingerprint, [rule.model_dump(mode="json") for rule in rules]]),
    }
    held_out = _hold_out_share(options, sets)
    if held_out is not None:  # as runs name their data that hold nothing out
        fingerprint["the held-out samples"] = _hash([held_out.share, held_out.seed])
    form = SequenceFormat(
        max_tokens=options.sequence_length,
        max_tiles=options.tiles_per_sequence,
        window=options.packing_window,
        tokenizer=tokenizer,
        markup=markup,
        tiler=shape,
    )
    sources_in_order = Sources(names, tables, rules, tilers, np.asarray(numbers, np.int64))
    held_out_sets = None
    if (of_sets := make_held_out_set_options(options)) is not None:
        held_out_sets = build_pack_plan(of_sets, model, tokenizer, image_size, patch_size)
        check_no_overlap(sources_in_order, held_out_sets.sources)
        fingerprint["the held-out sets"] = _hash(held_out_sets.fingerprint)
    return PackPlan(plan, sources_in_order, form, fingerprint, held_out, held_out_sets)


def _hold_out_share(options: DataOptions, sets: Sequence[SourceSet]) -> HeldOut | None:
    """Returns what is held out of the sources. Raises `UsageError` if no sample is left to train on."""
    if options.held_out is None or options.held_out.share is None:
        return None
    held_out = HeldOut(options.held_out.share, options.seed)
    if all(held_out.holds_all(one.name, one.length) for one in sets):
        raise UsageError("data.held_out: it holds out all samples, and none is left to train on; lower held_out.share")
    return held_out


def _select_measures(options: DataOptions, table: SampleTable, markup: Markup) -> dict[str, NDArray[np.int32]]:
    """Returns the numbers of each sample in the unit of the weights, by the unit's name."""
    if options.unit == "samples":
        return {}
    if options.unit != MULTIMODAL_TOKENS:
        return {options.unit: table.numbers[options.unit]}
    if options.image_tokens is not None:
        of_images = table.rows.count_image_tokens(options.image_tokens)
    else:
        of_images = table.numbers["images" if markup.fixed_sampling else "tiles"] * markup.tokens_per_tile
    return {MULTIMODAL_TOKENS: table.numbers["tokens"] + of_images}


def _describe_tilers(shape: ImageTiler, tilers: Sequence[ImageTiler]) -> object:
    """Describes the model's tiling alone, as the first runs did, unless a source has its own."""
    if all(tiler == shape for tiler in tilers):
        return shape.fingerprint
    return [shape.fingerprint, *(tiler.fingerprint for tiler in tilers)]


def _check_has_no_images(name: str, table: SampleTable) -> None:
    with_images = np.flatnonzero(table.numbers["images"])
    if len(with_images):
        row = table.rows.take(with_images[:1])[0]
        raise UsageError(
            f"data.sources.{name}: {row['path']}: {row['key']} has an image, and the model has no vision tower: leave "
            "the source out, or set model.vision"
        )


def _check_has_conversations(name: str, table: SampleTable, kind: str) -> None:
    if found := table.rows.find_image_outside_conversations():
        raise UsageError(
            f"data.sources.{name}: {found} has an image but is no conversation, and model.connector {kind} takes its "
            "instruction from the first user turn: leave the source out, or use kind: perceiver"
        )


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
