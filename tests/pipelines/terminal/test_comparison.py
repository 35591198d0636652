"""The table of a comparison, and what is said below it."""

from typing import Any

import pytest

from pipelines.terminal.comparison import format_effect, format_seeds, format_value, print_comparison

NOTHING = {"value": 0.0, "low": None, "high": None, "detectable": None, "freedom": None, "seed_share": None}
FOUND = {"value": 0.125, "low": 0.05, "high": 0.2, "detectable": 0.0957, "freedom": 2.5, "seed_share": 0.5}


def make_comparison(**changes: Any) -> dict[str, Any]:
    figure = {
        "by_seed": {"a": [0.5, 0.25], "b": [0.75, 0.25], "null": [0.5, 0.5]},
        "difference": FOUND,
        "null": NOTHING,
    }
    seen = {"tokens": 1000.0, "images": 20.0, "samples": 10.0}
    return {
        "what": "comparison",
        "interval": {"confidence": 0.95, "power": 0.8, "method": ""},
        "recipes": {"a": "one.yaml", "b": "two.yaml", "null": "one.yaml"},
        "seeds": {"a": [0, 1], "b": [0, 1], "null": [1000, 1001]},
        "positions": 2048,
        "seen": {"a": seen, "b": seen | {"tokens": 990.0}, "null": seen},
        "order_difference": None,
        "tasks": [
            {"name": "t-0shot", "task": "t", "shots": 0, "metric": "m", "questions": 40, "figures": {"m": figure}}
        ],
    } | changes


def test_a_row_has_all_seeds_the_difference_and_what_could_be_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_comparison(make_comparison())
    words = " ".join(capsys.readouterr().out.replace("─", "").split())
    assert "t m 0 40 37.5 50.0 +12.5 9.6 +0.0 50.0 25.0 75.0 25.0 +5.0 to +20.0" in words
    assert "A: one.yaml; B: two.yaml; each 2 trainings" in words
    assert "could be seen: the true difference that 80% of such comparisons would find" in words
    assert "order: for one seed, both recipes show the same samples in the same order" in words
    assert "seen in 2,048 positions, on average: A 1,000 tokens, 20 images, 10 samples; B 990 tokens, 20" in words
    assert "warning: intervals from 2 seeds hold the truth in 90% to 96% of cases only" in words
    found = make_comparison(seeds={"a": [0, 1, 2], "b": [0, 1, 2], "null": [1000, 1001, 1002]})
    print_comparison(found)
    assert "warning" not in capsys.readouterr().out


def test_unequal_tokens_and_another_order_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = make_comparison(order_difference="the mixtures differ from sample 1 on")
    found["seen"]["b"] = found["seen"]["b"] | {"tokens": 900.0}
    print_comparison(found)
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "order: the recipes do not show the same samples in the same order: the mixtures differ from sample 1" in words
    )
    assert "warning: the tokens seen differ, because one recipe's sequences have more padding" in words


def test_unequal_images_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """And how to compare at as many; then the positions of both are shown, and nothing is a warning."""
    found = make_comparison(seeds={"a": [0, 1, 2], "b": [0, 1, 2], "null": [1000, 1001, 1002]})
    found["seen"]["b"] = found["seen"]["b"] | {"images": 5.0}
    print_comparison(found)
    words = " ".join(capsys.readouterr().out.split())
    assert "images: B has seen 25% of A's; --equal images compares at as many images" in words
    found["seen"]["a"] = found["seen"]["a"] | {"images": 0.0}
    print_comparison(found)
    assert "images: A has seen none, and B some\n" in capsys.readouterr().out
    found |= {"equal": "images", "positions_by_arm": {"a": 2048, "b": 8192}}
    found["seen"]["b"] = found["seen"]["b"] | {"tokens": 4000.0}
    print_comparison(found)
    words = " ".join(capsys.readouterr().out.split())
    assert "seen in 2,048 positions of A and 8,192 of B, on average: A 1,000 tokens, 0 images" in words
    assert "warning" not in words
    assert "images: " not in words


def test_figures_without_a_value() -> None:
    assert format_seeds([0.5, None]) == "-"
    assert format_value(None) == "-"
    assert format_effect(NOTHING) == "+0.0"
    assert format_effect(NOTHING | {"value": None}) == "-"
    assert format_effect(FOUND) == "+12.5\n+5.0 to +20.0"
