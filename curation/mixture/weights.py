"""Computes the exact share of each source from the nested weights of a recipe.

    {"interleaved": {"weight": 50, "of": {"mint": {"of": {"html": 7, "pdf": 5, "arxiv": 1}}, "obelics": 1}}, "kale": 50}

A weight is relative to its neighbours: weights need not add up to any number, and a missing one is 1.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm

from schemas.errors import UsageError

RESOLUTION = 2**31 - 1
"""The largest common denominator of shares; it keeps their arithmetic within 64 bits. Shares that need a larger one are
rounded to it, which changes them by less than (number of sources) / 2**31."""

Weight = int | float | str | Fraction
"""A number above 0. A float counts as its printed decimals: 32.5 is 65/2. A string may be a fraction: "7/13"."""


def compute_shares(weights: Mapping[str, object]) -> dict[str, Fraction]:
    """Returns each source's share, by dotted path, in the recipe's order. Raises `UsageError`, which names the path."""
    return _compute_shares(weights, "", Fraction(1))


def compute_integer_weights(parts: Sequence[Fraction], max_sum: int = RESOLUTION) -> list[int]:
    """Returns integers in the same proportions, without a common divisor, whose sum is at most `max_sum`.

    Finer shares are rounded by the largest-remainder method; none becomes 0.
    """
    total = sum(parts, Fraction(0))
    exact = [part / total for part in parts]
    denominator = lcm(*(part.denominator for part in exact))
    if denominator <= max_sum:
        return [int(part * denominator) for part in exact]
    scaled = [max(Fraction(1), part * max_sum) for part in exact]
    wholes = [int(part) for part in scaled]
    by_loss = sorted(range(len(parts)), key=lambda i: (wholes[i] - scaled[i], i))
    for i in by_loss[: max(0, max_sum - sum(wholes))]:
        wholes[i] += 1
    excess = max(0, sum(wholes) - max_sum)  # from shares that were raised to 1; the largest share gives it up
    wholes[wholes.index(max(wholes))] -= excess
    divisor = gcd(*wholes)
    return [whole // divisor for whole in wholes]


def _compute_shares(level: Mapping[str, object], path: str, share: Fraction) -> dict[str, Fraction]:
    if not level:
        raise UsageError(f"{path or 'weights'}: names no source")
    weights = {}
    for name, node in level.items():
        if not isinstance(name, str) or not name or "." in name:
            raise UsageError(f"{path or 'weights'}: {name!r} is not a valid name: use text without full stops")
        weights[name] = _parse_weight(node, f"{path}.{name}".lstrip("."))
    total = sum(weights.values(), Fraction(0))
    flat: dict[str, Fraction] = {}
    for name, node in level.items():
        inner, part = f"{path}.{name}".lstrip("."), share * weights[name] / total
        below = node.get("of") if isinstance(node, Mapping) else None
        if below is None:
            flat[inner] = part
        elif isinstance(below, Mapping):
            flat |= _compute_shares(below, inner, part)
        else:
            raise UsageError(f"{inner}.of: must name sources and their weights")
    return flat


def _parse_weight(node: object, path: str) -> Fraction:
    if isinstance(node, Mapping):
        unknown = [str(key) for key in node if key not in ("weight", "of")]
        if unknown:
            raise UsageError(f"{path}: unknown key {unknown[0]}; a group has weight and of")
        node = node.get("weight", 1)
    try:
        if isinstance(node, bool) or not isinstance(node, Weight):
            raise ValueError
        weight = node if isinstance(node, Fraction) else Fraction(str(node))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{path}: weight must be a number, not {node!r}") from None
    if weight <= 0:
        raise UsageError(
            f"{path}: weight must be over 0; leave a source that is not to be drawn from out of weights and sources"
        )
    return weight
