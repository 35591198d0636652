"""Shares by multimodal tokens are exact: those of the model, of a number for each image, or of a rule."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.training.support.sets import captioned, document, plan, tokenizer, write_set
from training.data.options import DataOptions

UNIT = {"unit": "multimodal_tokens", "weights": {"captions": 3, "text": 1}}
LETTERS = 10  # of each caption, which are its tokens
ANY = {"any_resolution": {"enabled": True}}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    words, _ = tokenizer(tmp_path)
    captions = [captioned(n, "c" * LETTERS, [(60, 60), (200, 50)][n % 2]) for n in range(24)]
    return {
        "captions": write_set(tmp_path / "captions", captions, words),
        "text": write_set(tmp_path / "text", [document(n, ["t" * (5 + n)]) for n in range(24)], words),
    }


@pytest.mark.parametrize(
    ("model", "image_tokens", "of_images"),
    [
        ({}, None, [4, 4]),
        (ANY, None, [20, 16]),
        ({"any_resolution": {"enabled": True, "fixed_sampling": True}}, None, [4, 4]),
        (ANY, 100, [100, 100]),
        ({}, {"per_tile": 7, "tile": 56}, [35, 28]),
    ],
)
def test_shares(sources: dict[str, str], model: Any, image_tokens: Any, of_images: list[int], tmp_path: Path) -> None:
    options = UNIT if image_tokens is None else UNIT | {"image_tokens": image_tokens}
    made = plan(tmp_path, sources, model=model, stop="first_exhausted", **options)
    captions = next(source for source in made.mixture_plan.sources if source.name == "captions")
    expected = [LETTERS + of_images[n % 2] for n in range(24)]
    assert captions.measures["multimodal_tokens"].tolist() == expected
    text = next(source for source in made.mixture_plan.sources if source.name == "text")
    assert text.measures["multimodal_tokens"].tolist() == [5 + n for n in range(24)]
    drawn: Counter[str] = Counter()
    largest = max(max(expected), 28)
    for position in range(made.mixture_plan.length):
        found = made.mixture_plan.at(position)
        drawn[found.source] += (expected if found.source == "captions" else list(range(5, 29)))[found.sample]
        assert abs(drawn["captions"] - Fraction(3, 4) * drawn.total()) < largest


def test_the_rule_is_in_the_recipe_and_in_the_fingerprint(sources: dict[str, str], tmp_path: Path) -> None:
    asked = {"sources": sources} | UNIT
    assert "image_tokens" not in DataOptions.model_validate(asked).model_dump()
    stored = DataOptions.model_validate(asked | {"image_tokens": 128}).model_dump(mode="json")
    assert stored["image_tokens"]["per_tile"] == 128
    assert DataOptions.model_validate(stored).model_dump(mode="json") == stored
    hashes = {
        plan(tmp_path, sources, **UNIT, **given).fingerprint["the mixture"]
        for given in ({}, {"image_tokens": 100}, {"image_tokens": {"per_tile": 7, "tile": 56}})
    }
    assert len(hashes) == 3
    with pytest.raises(ValidationError, match="the unit is 'samples', which counts none of them: set unit: multimodal"):
        DataOptions.model_validate(asked | {"unit": "samples", "image_tokens": 128})
