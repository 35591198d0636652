import re

import numpy as np
import pyarrow as pa
import pytest

from curation.captions.fields import FIELDS, TABLES, compute_columns, print_pixels, repeat_sizes

BOX = pa.struct([(name, pa.float32()) for name in ("x1", "y1", "x2", "y2", "score")])


def items(*boxes: tuple[float, ...]) -> pa.StructArray:
    return pa.array([dict(zip(("x1", "y1", "x2", "y2", "score"), box, strict=True)) for box in boxes], BOX)


@pytest.mark.parametrize(
    ("field", "printed"),
    [
        *(("position", "above the center"), ("down", "2/17"), ("across", "1/2"), ("score", "0.906")),
        *(("x1", "0.192"), ("y1", "0.037"), ("x2", "0.817"), ("y2", "0.203")),
        *(("x1_tenths", "0.2"), ("y1_tenths", "0.0"), ("x2_tenths", "0.8"), ("y2_tenths", "0.2")),
        *(("x1_999", "192"), ("y1_999", "37"), ("x2_999", "816"), ("y2_999", "203")),
        *(("x1_3digits", "192"), ("y1_3digits", "037"), ("x2_3digits", "816"), ("y2_3digits", "203")),
    ],
)
def test_what_fields_print(field: str, printed: str) -> None:
    columns = compute_columns(items((0.192, 0.037, 0.817, 0.203, 0.9057)), "score")
    assert TABLES[field][columns[FIELDS[field].column][0]] == printed


def test_whole_numbers_are_0_to_999() -> None:
    assert [TABLES["x1_999"][number] for number in (0, 1, 500, 501, 999, 1000)] == [
        "0",
        "1",
        "500",
        "500",
        "998",
        "999",
    ]
    assert {len(value) for value in TABLES["y2_3digits"]} == {3}


@pytest.mark.parametrize("field", TABLES)
def test_patterns_match_what_fields_print(field: str) -> None:
    pattern = re.compile(FIELDS[field].pattern)
    assert [value for value in TABLES[field] if not pattern.fullmatch(value)] == []
    assert set("".join(TABLES[field])) <= set(FIELDS[field].characters)


def test_pixels_are_those_of_the_stored_box() -> None:
    boxes = items((0.00049, 0.5, 1.5, -1.0, 0.5), (0.25, 0.25, 0.75, 0.75, 0.5))
    sizes = repeat_sizes({"width": pa.array([5000, 640]), "height": pa.array([3, 480])}, np.asarray([1, 1]))
    printed = {name: print_pixels(boxes, f"{name}_pixels", sizes).to_pylist() for name in ("x1", "y1", "x2", "y2")}
    assert printed == {"x1": ["2", "160"], "y1": ["2", "120"], "x2": ["5000", "480"], "y2": ["0", "360"]}
    for side in (8191, 8192, 70_000):  # up to the first, numbers are looked up
        found = print_pixels(items((0, 0, 1, 1, 1)), "x2_pixels", {"width": np.asarray([side], np.int32)})
        assert found.to_pylist() == [str(side)]


def test_pixels_need_the_size_of_the_image() -> None:
    with pytest.raises(ValueError, match=r"^\{y2_pixels\} needs the height of the images$"):
        print_pixels(items((0, 0, 1, 1, 1)), "y2_pixels", {"width": np.asarray([1], np.int32)})
