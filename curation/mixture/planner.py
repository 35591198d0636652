"""Builds the plan of a mixture from its options and the sets that they name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from curation.mixture.image_tokens import MULTIMODAL_TOKENS
from curation.mixture.options import MixtureOptions, get_source_name
from curation.mixture.plan import Mixture, Plan, Source, plan_mixture
from curation.mixture.sources import SourceMeasures, SourceSet, open_sources, read_measures
from schemas.errors import UsageError
from schemas.output_set.manifest import InputFile
from schemas.records.fingerprint import EngineFingerprint

Tracker = Callable[[Sequence[SourceSet]], Iterable[SourceSet]]


@dataclass(frozen=True, slots=True)
class PlannedMixture:
    """Holds a plan, its sets and their measures, in the order of the plan's sources."""

    plan: Plan
    sets: list[SourceSet]
    measures: list[SourceMeasures]

    @property
    def tokenizer(self) -> EngineFingerprint | None:
        """The tokenizer that counted the tokens of all sources; None if some are not counted, or by another one."""
        known = [numbers.tokenizer for numbers in self.measures]
        return known[0] if all(tokenizer == known[0] for tokenizer in known) else None

    @property
    def revisions(self) -> list[InputFile]:
        """The revisions of all sets."""
        return [revision for source in self.sets for revision in source.revisions]


def build_mixture_plan(options: MixtureOptions, measures: Sequence[str], track: Tracker = iter) -> PlannedMixture:
    """Builds the plan of a mixture. Raises `UsageError` for an invalid source, or one without the unit of the weights.

    `track` yields the sets one by one as their indexes are read, and may show progress.
    """
    paths = list(options.shares)
    sets = open_sources(map(get_source_name, paths), options.sources, options.images)
    numbers = [read_measures(source, measures, options.image_tokens) for source in track(sets)]
    if options.unit in ("tokens", MULTIMODAL_TOKENS):
        check_tokenizers(sets, numbers)
    sources = [
        Source(path, source.length, found.measures) for path, source, found in zip(paths, sets, numbers, strict=True)
    ]
    repeats = {path: options.repeats[name] for path in paths if (name := get_source_name(path)) in options.repeats}
    mixture = Mixture(options.shares, options.unit, repeats, options.stop, options.seed)
    return PlannedMixture(plan_mixture(mixture, sources), sets, numbers)


def check_tokenizers(sets: list[SourceSet], measures: list[SourceMeasures]) -> None:
    """Raises `UsageError` if a source's tokens are not counted, or if the sources' tokenizers differ."""
    for source, found in zip(sets, measures, strict=True):
        if found.tokenizer is None:
            raise UsageError(
                f"unit: the tokens of source {source.name} are not counted: ingest it with --tokenizer, or weight by "
                "samples, images or characters"
            )
        if found.tokenizer != measures[0].tokenizer:
            raise UsageError(
                f"unit: the tokens of sources {sets[0].name} and {source.name} were counted by different tokenizers: "
                "ingest them with the same one"
            )
