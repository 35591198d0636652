"""What would come of a plan: `mix --plan` prints it before anything is written."""

from dataclasses import dataclass
from fractions import Fraction

from curation.mixture.asked import Unit
from curation.mixture.plan import Plan


@dataclass(frozen=True)
class SourceTotals:
    """One source's part."""

    name: str
    asked: Fraction  # share, as the weights say
    used: Fraction  # share, as drawn by: another one only where the asked ones were too fine (weights.RESOLUTION)
    got: Fraction  # share of all units of the plan: below or above where a source ran out
    length: int  # samples that it has
    samples: int  # samples drawn
    totals: dict[str, int]  # tokens, images, characters drawn: what its index has
    runs_out: int | None  # positions behind which it has nothing left to give; None: it has

    @property
    def epochs(self) -> Fraction:
        """How often it is gone through."""
        return Fraction(self.samples, self.length)


@dataclass(frozen=True)
class Summary:
    """A plan in figures."""

    positions: int
    unit: Unit
    sources: tuple[SourceTotals, ...]

    @property
    def rounded(self) -> bool:
        """Whether shares had to be rounded."""
        return any(source.asked != source.used for source in self.sources)


def summarise(plan: Plan) -> Summary:
    """Counts what is drawn, exactly. Of a source that ends within an epoch, up to half its samples are looked up."""
    totals = [
        {name: plan.summed(number, name, plan.counts[number]) for name in source.measures}
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
                _runs_out(plan, number),
            )
            for number, source in enumerate(plan.sources)
        ),
    )


def _runs_out(plan: Plan, source: int) -> int | None:
    last = [phase for phase in plan.phases if source in phase.active][-1]
    times = plan.mixture.times(plan.sources[source].name)
    given_all = times is not None and plan.counts[source] == times * plan.sources[source].length
    return last.stop if given_all else None
