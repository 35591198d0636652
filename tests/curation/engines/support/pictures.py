"""Makes pictures of noise for tests of engines."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def make_pictures(shapes: Iterable[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """Makes pictures of these heights and widths, read-only as `decode` gives them."""
    made = [np.random.default_rng(n).integers(0, 256, (*shape, 3), np.uint8) for n, shape in enumerate(shapes)]
    for picture in made:
        picture.flags.writeable = False
    return made
