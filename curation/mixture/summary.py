"""Summarises a plan: `mix --plan` prints the summary and writes nothing."""

from dataclasses import dataclass
from fractions import Fraction

from curation.mixture.plan import Plan
from curation.mixture.spec import WeightUnit


@dataclass(frozen=True)
class SourceTotals:
    """Holds the figures of one source in a plan."""

    name: str
    requested_share: Fraction  # share that the weights ask for
    # share that the plan uses; differs from `requested_share` only if that is too fine (weights.RESOLUTION)
    effective_share: Fraction
    actual_share: (
        Fraction  # share of all units of the plan; differs from `effective_share` if a source is exhausted early
    )
    length: int  # samples of the source
    samples: int  # samples drawn
    totals: dict[str, int]  # tokens, images, characters drawn, as far as its index has them
    runs_out_at: int | None  # position at which it is exhausted; None: never

    @property
    def epochs(self) -> Fraction:
        """The number of epochs drawn."""
        return Fraction(self.samples, self.length)


@dataclass(frozen=True)
class Summary:
    """Holds the figures of a plan."""

    positions: int
    unit: WeightUnit
    sources: tuple[SourceTotals, ...]

    @property
    def has_rounded_shares(self) -> bool:
        """Whether shares had to be rounded."""
        return any(source.requested_share != source.effective_share for source in self.sources)


def summarise_plan(plan: Plan) -> Summary:
    """Counts exactly what a plan draws. Looks up at most half the samples of a source that ends within an epoch."""
    totals = [
        {name: plan.sum_measure(number, name, plan.counts[number]) for name in source.measures}
        for number, source in enumerate(plan.sources)
    ]
    unit, weights = plan.mixture.unit, plan.phases[0].weights
    units = list(plan.counts) if unit == "samples" else [total[unit] for total in totals]
    asked = sum(plan.mixture.shares.values(), Fraction(0))
    return Summary(
        plan.length,
        unit,
        tuple(
            SourceTotals(
                source.name,
                plan.mixture.shares[source.name] / asked,
                Fraction(weights[number], sum(weights)),
                Fraction(units[number], max(1, sum(units))),
                source.length,
                plan.counts[number],
                totals[number],
                _find_exhaustion(plan, number),
            )
            for number, source in enumerate(plan.sources)
        ),
    )


def _find_exhaustion(plan: Plan, source: int) -> int | None:
    last = [phase for phase in plan.phases if source in phase.active][-1]
    times = plan.mixture.get_repeat(plan.sources[source].name)
    given_all = times is not None and plan.counts[source] == times * plan.sources[source].length
    return last.stop if given_all else None
