"""A plan is built from the folders of sets, and says which sets, measures and tokenizer it was built from."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from curation.mixture.options import MixtureOptions
from curation.mixture.planner import build_mixture_plan
from schemas.errors import UsageError
from tests.curation.mixture.support.sets import compute_revision, make_fingerprint, make_row, write_set

ONE, OTHER = make_fingerprint("one"), make_fingerprint("other")


def counted(*tokens: int | None) -> list[dict[str, Any]]:
    return [make_row(f"k{number}", tokens=count) for number, count in enumerate(tokens)]


def test_a_plan_of_sets(tmp_path: Path) -> None:
    """Sources are in the order of their weights' names; a repeat is that of the source's name, not of its path."""
    paths = {
        "a": write_set(tmp_path / "a", {"00": counted(5, 5), "01": counted(5)}),
        "b": write_set(tmp_path / "b", {"00": counted(5)}),
    }
    options = MixtureOptions(
        sources={name: [path] for name, path in paths.items()},
        weights={"group": {"weight": 1, "of": {"b": 1}}, "a": 3},
        repeats={"b": 2},
        stop="all_exhausted",
        seed=7,
    )
    seen = []

    def track(sets: Any) -> Any:
        for one in sets:
            seen.append(one.name)
            yield one

    planned = build_mixture_plan(options, ["images", "characters"], track)
    assert seen == [one.name for one in planned.sets] == ["a", "b"]
    mixture = planned.plan.mixture
    assert dict(mixture.shares) == {"a": Fraction(3, 4), "group.b": Fraction(1, 4)}
    assert (mixture.unit, mixture.repeat, mixture.stop, mixture.seed) == ("samples", {"group.b": 2}, "all_exhausted", 7)
    assert [(source.name, source.length) for source in planned.plan.sources] == [("a", 3), ("group.b", 1)]
    assert planned.plan.counts == (3, 2)
    assert {name: list(values) for name, values in planned.plan.sources[0].measures.items()} == {
        "images": [1, 1, 1],
        "characters": [7, 7, 7],
    }
    assert [sorted(found.measures) for found in planned.measures] == [["characters", "images"]] * 2
    assert planned.tokenizer is None
    assert [(one.path, one.size, one.sha256) for one in planned.revisions] == [
        (paths["a"], *compute_revision(paths["a"], ["00", "01"])),
        (paths["b"], *compute_revision(paths["b"], ["00"])),
    ]


def test_tokens_need_one_tokenizer(tmp_path: Path) -> None:
    a = write_set(tmp_path / "a", {"00": counted(3, 0)}, ONE)
    same, other = (
        write_set(tmp_path / "same", {"00": counted(2)}, ONE),
        write_set(tmp_path / "b", {"00": counted(2)}, OTHER),
    )
    uncounted = write_set(tmp_path / "c", {"00": counted(2, None)}, ONE)

    def options(folder: str, **more: Any) -> MixtureOptions:
        return MixtureOptions(sources={"a": [a], "b": [folder]}, weights={"a": 1, "b": 1}, **more)

    planned = build_mixture_plan(options(same, unit="tokens"), ["tokens"])
    assert planned.tokenizer == ONE
    assert planned.plan.mixture.unit == "tokens"
    assert list(planned.plan.sources[0].measures["tokens"]) == [3, 0]
    assert build_mixture_plan(options(other), ["tokens"]).tokenizer is None
    with pytest.raises(
        UsageError, match=r"^unit: the tokens of sources a and b were counted by different tokenizers: "
    ):
        build_mixture_plan(options(other, unit="tokens"), ["tokens"])
    with pytest.raises(UsageError, match=r"^unit: the tokens of source b are not counted: "):
        build_mixture_plan(options(uncounted, unit="tokens"), ["tokens"])


def test_multimodal_tokens_need_the_same(tmp_path: Path) -> None:
    """Tokens of one tokenizer, counted for all samples; each of these has one image."""
    a, same, other = (
        write_set(tmp_path / name, {"00": counted(3, 0)}, tokenizer)
        for name, tokenizer in (("a", ONE), ("same", ONE), ("b", OTHER))
    )
    uncounted = write_set(tmp_path / "c", {"00": counted(2, None)}, ONE)

    def options(folder: str) -> MixtureOptions:
        weights = {"a": 1, "b": 1}
        return MixtureOptions(
            sources={"a": [a], "b": [folder]}, weights=weights, unit="multimodal_tokens", image_tokens=128
        )

    planned = build_mixture_plan(options(same), ["multimodal_tokens"])
    assert list(planned.plan.sources[0].measures["multimodal_tokens"]) == [131, 128]
    with pytest.raises(
        UsageError, match=r"^unit: the tokens of sources a and b were counted by different tokenizers: "
    ):
        build_mixture_plan(options(other), ["multimodal_tokens"])
    with pytest.raises(UsageError, match=r"^unit: the tokens of source b are not counted: "):
        build_mixture_plan(options(uncounted), ["multimodal_tokens"])
