"""Each filter at its edge, and which of two faults is named."""

import pytest
from pydantic import ValidationError

from curation.images.filters import ImageFilters, check_aspect, check_side, find_image_fault
from schemas.records.quarantine import Reason, Rejected

OFF = ImageFilters(min_side=None, max_aspect=None)


@pytest.mark.parametrize(("width", "height", "stays"), [(32, 32, True), (31, 900, False), (900, 31, False)])
def test_too_small(width: int, height: int, stays: bool) -> None:
    fault = check_side(width, height, 32)
    assert (fault is None) is stays
    if fault:
        assert fault == Rejected(Reason.TOO_SMALL, f"{width} x {height} pixels, the least side is 32")


@pytest.mark.parametrize(("width", "height", "stays"), [(100, 10, True), (101, 10, False), (10, 101, False)])
def test_extreme_aspect(width: int, height: int, stays: bool) -> None:
    fault = check_aspect(width, height, 10.0)
    assert (fault is None) is stays
    if fault:
        assert fault == Rejected(Reason.EXTREME_ASPECT, f"{width} x {height} pixels, the most is 10 to 1")


def test_first_fault_is_named() -> None:
    fault = find_image_fault(1, 5000, ImageFilters())
    assert fault is not None
    assert fault.reason is Reason.TOO_SMALL


def test_none_is_off() -> None:
    assert find_image_fault(1, 100_000, OFF) is None


def test_defaults_keep_web_pictures_and_lines_of_text() -> None:
    for width, height in [(512, 341), (1541, 38), (35, 19)]:
        assert find_image_fault(width, height, ImageFilters()) is None


@pytest.mark.parametrize("options", [{"min_side": 0}, {"max_aspect": 0.5}, {"min_width": 3}])
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ImageFilters.model_validate(options)
