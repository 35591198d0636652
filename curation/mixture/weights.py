"""Nested weights, as a recipe states them, made into one exact share for each source.

    {"interleaved": {"weight": 50, "of": {"mint": {"of": {"html": 7, "pdf": 5, "arxiv": 1}}, "obelics": 1}}, "kale": 50}

Weights count against their neighbours only: they need not add up to anything, and one that is left out is 1.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm

from schemas.errors import UsageError

RESOLUTION = 2**31 - 1
"""The finest common denominator of shares, which keeps their arithmetic in 64 bits. Shares that ask for a finer one are
rounded to it: they move by less than the number of sources in 2**31."""

Weight = int | float | str | Fraction
"""Above 0. Of a float the decimals count, as they are printed: 32.5 is 65/2. Strings may be fractions: 7/13."""


def shares(weights: Mapping[str, object]) -> dict[str, Fraction]:
    """Each source's share, by its dotted path, in the recipe's order. `UsageError` names the path that is wrong."""
    return _shares(weights, "", Fraction(1))


def whole_weights(parts: Sequence[Fraction], most: int = RESOLUTION) -> list[int]:
    """Whole numbers in the same proportions, without a common divisor; their sum is at most `most`.

    Finer shares are rounded, those cut the most upwards; none falls to 0.
    """
    total = sum(parts, Fraction(0))
    exact = [part / total for part in parts]
    denominator = lcm(*(part.denominator for part in exact))
    if denominator <= most:
        return [int(part * denominator) for part in exact]
    scaled = [max(Fraction(1), part * most) for part in exact]
    wholes = [int(part) for part in scaled]
    by_loss = sorted(range(len(parts)), key=lambda i: (wholes[i] - scaled[i], i))
    for i in by_loss[: max(0, most - sum(wholes))]:
        wholes[i] += 1
    excess = max(0, sum(wholes) - most)  # of shares too small to count; the largest can spare it
    wholes[wholes.index(max(wholes))] -= excess
    divisor = gcd(*wholes)
    return [whole // divisor for whole in wholes]


def _shares(level: Mapping[str, object], path: str, share: Fraction) -> dict[str, Fraction]:
    if not level:
        raise UsageError(f"{path or 'weights'}: names no source")
    weights = {}
    for name, node in level.items():
        if not isinstance(name, str) or not name or "." in name:
            raise UsageError(f"{path or 'weights'}: {name!r} is no name: text without full stops")
        weights[name] = _weight(node, f"{path}.{name}".lstrip("."))
    total = sum(weights.values(), Fraction(0))
    flat: dict[str, Fraction] = {}
    for name, node in level.items():
        inner, part = f"{path}.{name}".lstrip("."), share * weights[name] / total
        below = node.get("of") if isinstance(node, Mapping) else None
        if below is None:
            flat[inner] = part
        elif isinstance(below, Mapping):
            flat |= _shares(below, inner, part)
        else:
            raise UsageError(f"{inner}.of: must name sources and their weights")
    return flat


def _weight(node: object, path: str) -> Fraction:
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
