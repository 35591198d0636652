"""Mixtures weighted by multimodal tokens: exact shares of text and image tokens, in the plan and in what is written."""

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.mix.run import mix, preview_mixture
from pipelines.recipes.mix import MixRecipe
from pipelines.stats.run import collect_stats
from tests.pipelines.support.sets import ALONE, rows
from tests.training.support.sets import captioned, document, tokenizer, write_set

WEIGHTS = {"captions": 3, "text": 1}
SIZES = [(60, 60), (200, 50), (30, 100)]
RULES = {"number": 100, "rule": {"per_tile": 7, "tile": 56}}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    words, _ = tokenizer(folder)
    captions = [captioned(n, "c" * (5 + n % 3), SIZES[n % 3]) for n in range(24)]
    return {
        "captions": write_set(folder / "captions", captions, words),
        "text": write_set(folder / "text", [document(n, ["t" * (20 + n)]) for n in range(24)], words),
    }


def recipe(sources: dict[str, str], **options: Any) -> MixRecipe:
    values = {"unit": "multimodal_tokens", "weights": WEIGHTS, "samples_per_shard": 8, "run": ALONE} | options
    return MixRecipe.model_validate({"sources": sources} | values)


def count(row: dict[str, Any], rule: Any) -> int:
    """The tokens of a row's text and images."""
    per_image = [100] * row["images"] if rule == 100 else [
        7 * {(60, 60): 5, (200, 50): 4, (30, 100): 3}[image["width"], image["height"]] for image in row["image_details"]
    ]  # fmt: skip
    return int(row["tokens"]) + sum(per_image)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_shares_are_exact_at_every_prefix(sources: dict[str, str], rule: Any, tmp_path: Path) -> None:
    asked = recipe(sources, image_tokens=rule)
    planned = preview_mixture(asked)
    mix(asked, str(tmp_path / "out"))
    index = rows(tmp_path / "out", "index")
    drawn: Counter[str] = Counter()
    largest = max(count(row, rule) for row in index)
    for row in index:
        drawn[row["source"]] += count(row, rule)
        assert abs(drawn["captions"] - Fraction(3, 4) * drawn.total()) < largest
    assert {row["source"]: row["counts"]["multimodal_tokens"] for row in planned["sources"]} == drawn
    got = collect_stats(str(tmp_path / "out"))["mixture"]
    assert got["unit"] == "multimodal_tokens"
    assert {row["source"]: row["counts"]["multimodal_tokens"] for row in got["sources"]} == drawn
    assert [row["got"]["multimodal_tokens"] for row in got["sources"]] == [
        row["got"]["multimodal_tokens"] for row in planned["sources"]
    ]


def test_the_rule_is_in_the_recipe(sources: dict[str, str]) -> None:
    """And in its hash, so that a set that another rule began is not continued; recipes without it keep theirs."""
    hashes = {recipe(sources, image_tokens=rule).compute_sha256() for rule in (*RULES.values(), 101)}
    assert len(hashes) == 3
    assert "image_tokens" not in recipe(sources, unit="tokens").resolve()
    with pytest.raises(ValidationError, match="give the tokens of an image, such as 128, since the unit is multimodal"):
        recipe(sources)
    with pytest.raises(ValidationError, match="the unit is 'tokens', which counts none of them: set unit: multimodal_"):
        recipe(sources, unit="tokens", image_tokens=128)


def test_other_units_tell_no_multimodal_tokens(sources: dict[str, str], tmp_path: Path) -> None:
    asked = recipe({"captions": sources["captions"]}, unit="images", weights={"captions": 1})
    assert list(preview_mixture(asked)["totals"]) == ["samples", "tokens", "images", "characters"]
    mix(asked, str(tmp_path / "out"))
    assert "multimodal_tokens" not in collect_stats(str(tmp_path / "out"))["mixture"]["totals"]
