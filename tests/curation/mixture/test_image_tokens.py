"""The tokens of images are counted by a number or by the rule of any resolution, one by one as all at once."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter, ValidationError

from curation.mixture.image_tokens import ImageTokenRule, ImageTokens
from schemas.output_set.shard_index import INDEX_SCHEMA

SIZES = [[], [(640, 480)], [(2000, 500), (384, 384)], [(50, 900)]]


def details() -> pa.ChunkedArray:
    """Those of four samples, with none to two images, in two chunks."""
    rows = [[{"width": w, "height": h, "sha256": ""} for w, h in sizes] for sizes in SIZES]
    kind = INDEX_SCHEMA.field("image_details").type
    return pa.chunked_array([pa.array(rows[:1], kind), pa.array(rows[1:], kind)])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (128, [0, 128, 256, 128]),
        ({"per_tile": 128, "tile": 384}, [0, 640, 512 + 384, 512]),
        ({"per_tile": 144, "tile": 672, "grids": [[2, 2]]}, [0, 720, 1440, 720]),
    ],
)
def test_tokens_of_samples(given: Any, expected: list[int]) -> None:
    rule: ImageTokenRule = TypeAdapter(ImageTokens).validate_python(given)
    assert rule.sum_by_sample(details()).tolist() == expected
    assert [rule.sum_images(images) for images in details().to_pylist()] == expected
    again = TypeAdapter(ImageTokens).validate_python(rule.model_dump(mode="json"))
    assert again == rule


def test_no_samples() -> None:
    nothing = pa.chunked_array([], INDEX_SCHEMA.field("image_details").type)
    assert ImageTokenRule(per_tile=4, tile=384).sum_by_sample(nothing).tolist() == []
    assert ImageTokenRule(per_tile=4).count(np.zeros(2, int), np.zeros(2, int)).tolist() == [4, 4]


@pytest.mark.parametrize("given", [0, -1, True, "many", {"per_tile": 0}, {"tile": 384}, {"per_tile": 4, "grids": []}])
def test_what_is_no_rule(given: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ImageTokens).validate_python(given)
