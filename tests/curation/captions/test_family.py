"""A family's parts must fit together, or it fails where it is declared and not in the middle of a run."""

from dataclasses import replace

import pytest

from curation.captions.ocr import FAMILY


def test_a_threshold_names_options_of_the_family() -> None:
    message = f"^ocr: {FAMILY.options.__name__} has no option least$"
    with pytest.raises(ValueError, match=message):
        replace(FAMILY, threshold=replace(FAMILY.threshold, min_score_option="least"))
    with pytest.raises(ValueError, match=message):
        replace(FAMILY, threshold=replace(FAMILY.threshold, min_count_option="least"))


def test_the_captioned_column_is_one_that_is_read() -> None:
    with pytest.raises(ValueError, match=r"^ocr: tags is not among the columns ocr, boxes$"):
        replace(FAMILY, column="tags", columns=("ocr", "boxes"))
    assert replace(FAMILY, column="boxes", columns=("ocr", "boxes")).column == "boxes"
