"""Limits of scores, by the names that they have in each kind of evaluation."""

from typing import Any

import pytest

from pipelines.evaluate.thresholds import ScoreUnderLimit, check_limits, name_scores
from schemas.errors import UsageError


def figure(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


BOXES: dict[str, Any] = {
    "what": "boxes",
    "iou": 0.5,
    "classes": [{"label": "cat", "objects": 3, "f1": figure(0.5), "ap": figure(None)}],
    "total": {"label": "total", "objects": 3, "f1": figure(0.25)},
}
OCR: dict[str, Any] = {"sources": [{"source": "sroie", "cer": figure(0.1)}], "total": {"cer": figure(0.2)}}
CAPTIONS: dict[str, Any] = {"captions": [{"caption": "dense", "source": "web", "supported": figure(0.7)}]}
MODEL: dict[str, Any] = {"tasks": [{"name": "coco-4shot", "figures": {"cider": figure(1.09)}}]}


def test_names() -> None:
    assert dict(name_scores(BOXES)) == {"cat.f1": 0.5, "cat.ap": None, "total.f1": 0.25}
    assert dict(name_scores(OCR)) == {"sroie.cer": 0.1, "total.cer": 0.2}
    assert dict(name_scores(CAPTIONS)) == {"dense.web.supported": 0.7}
    assert dict(name_scores(MODEL)) == {"coco-4shot.cider": 1.09}
    leaks = {"questions": 3, "leaked": figure(0.3), "figures": {"cider": figure(0.8)}}
    leaked = {"tasks": [MODEL["tasks"][0] | {"leaks": leaks}]}
    assert dict(name_scores(leaked)) == {
        "coco-4shot.cider": 1.09,
        "coco-4shot.leaks.leaked": 0.3,
        "coco-4shot.leaks.cider": 0.8,
    }


def test_scores_that_reach_their_limits() -> None:
    check_limits([], BOXES)
    check_limits(["cat.f1=0.5", "total.f1=0.2"], BOXES)
    check_limits(["sroie.cer=0.1"], OCR)
    check_limits(["coco-4shot.cider=1"], MODEL)


@pytest.mark.parametrize(
    ("found", "limits", "message"),
    [
        (BOXES, ["cat.f1=0.51", "total.f1=0.5"], "cat.f1 is 0.5, under 0.51; total.f1 is 0.25, under 0.5"),
        (BOXES, ["cat.ap=0"], "cat.ap has no value"),
        (OCR, ["total.cer=0.15"], "total.cer is 0.2, over 0.15"),
        ({"total": {"ordinary_wer": figure(0.4)}}, ["total.ordinary_wer=0.3"], "total.ordinary_wer is 0.4, over 0.3"),
    ],
)
def test_scores_that_do_not(found: dict[str, Any], limits: list[str], message: str) -> None:
    with pytest.raises(ScoreUnderLimit) as raised:
        check_limits(limits, found)
    assert str(raised.value) == f"--fail-under: {message}"
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("limit", ["cat.f1", "cat.f1=", "cat.f1=high", "=0.5", "cat.f1=nan"])
def test_limits_of_another_form(limit: str) -> None:
    with pytest.raises(UsageError, match=r": it is not NAME=NUMBER, such as cat\.f1=0\.5$"):
        check_limits([limit], BOXES)


def test_an_unknown_name() -> None:
    with pytest.raises(
        UsageError, match=r"^--fail-under: there is no score dog\.f1, only cat\.f1, cat\.ap, total\.f1$"
    ):
        check_limits(["dog.f1=0.5"], BOXES)
