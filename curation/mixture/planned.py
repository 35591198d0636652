"""Builds the plan of a mixture from its options and the sets that they name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from curation.mixture.options import MixtureOptions, source_name
from curation.mixture.plan import Mixture, Plan, Source, plan_mixture
from curation.mixture.sources import Numbers, SourceSet, open_source, read_numbers
from schemas.errors import UsageError
from schemas.output_set.manifest import InputFile
from schemas.records.fingerprint import EngineFingerprint

Follow = Callable[[Sequence[SourceSet]], Iterable[SourceSet]]


@dataclass(frozen=True, slots=True)
class Planned:
    """Holds a plan, its sets and their measures, in the order of the plan's sources."""

    plan: Plan
    sets: list[SourceSet]
    numbers: list[Numbers]

    @property
    def tokenizer(self) -> EngineFingerprint | None:
        """The tokenizer that counted the tokens of all sources; None if some are not counted, or by another one."""
        known = [numbers.tokenizer for numbers in self.numbers]
        return known[0] if all(tokenizer == known[0] for tokenizer in known) else None

    @property
    def revisions(self) -> list[InputFile]:
        """The revisions of all sets."""
        return [revision for source in self.sets for revision in source.revisions]


def plan_of(options: MixtureOptions, measures: Sequence[str], follow: Follow = iter) -> Planned:
    """Builds the plan of a mixture. Raises `UsageError` for an invalid source, or one without the unit of the weights.

    `follow` yields the sets one by one as their indexes are read, and may show progress.
    """
    paths = list(options.shares)
    sets = [open_source(name, options.sources[name]) for name in map(source_name, paths)]
    numbers = [read_numbers(source, measures) for source in follow(sets)]
    if options.unit == "tokens":
        check_tokenizers(sets, numbers)
    sources = [
        Source(path, source.length, found.measures) for path, source, found in zip(paths, sets, numbers, strict=True)
    ]
    repeats = {path: options.repeats[name] for path in paths if (name := source_name(path)) in options.repeats}
    mixture = Mixture(options.shares, options.unit, repeats, options.stop, options.seed)
    return Planned(plan_mixture(mixture, sources), sets, numbers)


def check_tokenizers(sets: list[SourceSet], numbers: list[Numbers]) -> None:
    """Raises `UsageError` if a source's tokens are not counted, or if the sources' tokenizers differ."""
    for source, found in zip(sets, numbers, strict=True):
        if found.tokenizer is None:
            raise UsageError(
                f"unit: the tokens of source {source.name} are not counted: ingest it with --tokenizer, or weight by "
                "samples, images or characters"
            )
        if found.tokenizer != numbers[0].tokenizer:
            raise UsageError(
                f"unit: the tokens of sources {sets[0].name} and {source.name} were counted by different tokenizers: "
                "ingest them with the same one"
            )
