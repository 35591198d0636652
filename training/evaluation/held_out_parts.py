"""Packs what is held out: a share of each source's samples, and sets of their own."""

from dataclasses import dataclass

from training.data.options import HeldOutOptions
from training.data.plan import Pack, PackPlan


@dataclass(frozen=True, slots=True)
class HeldOutPart:
    """Holds packs of one plan: that of the sources, of which a share is held out, or that of sets of their own."""

    plan: PackPlan
    packs: list[Pack]

    @property
    def names(self) -> list[str]:
        """Returns the names of the sources or sets, in the order of their losses."""
        return self.plan.sources.names


def pack_held_out(plan: PackPlan, options: HeldOutOptions) -> list[HeldOutPart]:
    """Packs all that is held out. Raises `UsageError` if there is none that can be used."""
    parts = []
    if plan.held_out is not None:
        parts.append(HeldOutPart(plan, plan.pack_held_out(options.samples)))
    if plan.held_out_sets is not None:
        parts.append(HeldOutPart(plan.held_out_sets, plan.held_out_sets.pack_random(options.samples)))
    return parts
