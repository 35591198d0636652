"""Prompts of a recipe are read before a run; their hashes are stored; what reads another text runs again."""

from pathlib import Path
from typing import Any

import pytest

from curation.format_strings import Piece
from pipelines.annotate.captions.prompts import list_inputs, load_prompt, settle_prompts
from pipelines.annotate.reuse import find_reused_stages
from pipelines.recipes.annotate import AnnotateRecipe, Engines
from schemas.errors import UsageError


def make_engines(folder: Path, settings: dict[str, Any] | None = None, **prompts: str) -> dict[str, Any]:
    """Engines with these captions by a server, whose prompts are written to files."""
    captions = {}
    for name, text in prompts.items():
        (folder / f"{name}.txt").write_text(text)
        captions[name] = {"engine": "endpoint", "prompt": str(folder / f"{name}.txt"), "settings": settings or {}}
    return {"ocr": {"engine": "rapidocr"}, "captions": captions}


def settle(engines: dict[str, Any]) -> Engines:
    return settle_prompts(AnnotateRecipe.model_validate({"input": "x", "engines": engines})).engines


def test_inputs_of_each_stage(tmp_path: Path) -> None:
    engines = settle(
        make_engines(tmp_path, dense="See.", short="{dense} and {ocr} of {alt_text}", last="{short}{ocr_boxes}{ocr}")
    )
    assert [list_inputs(engines, stage) for stage in engines.list_stages()] == [
        [],
        [],
        ["captions.dense", "ocr"],
        ["captions.short", "ocr"],
    ]
    prompt = load_prompt(engines, "captions.dense")
    assert prompt is not None
    assert prompt.pieces == (Piece("See.", ""),)
    assert load_prompt(engines, "ocr") is None


def test_hashes_are_stored_and_must_stay(tmp_path: Path) -> None:
    given = make_engines(tmp_path, dense="See.")
    settled = settle(given)
    stored = settled.model_dump()
    assert stored["captions"]["dense"]["prompt_sha256"] == (
        "781cc6aaed5ad60b607037c032d73bffe65925bc17c2a2e99f29aa79297c560f"
    )
    assert settle(stored) == settled
    (tmp_path / "dense.txt").write_text("Look.")
    with pytest.raises(UsageError) as error:
        settle(stored)
    assert str(error.value) == (
        f"engines.captions.dense.prompt: {tmp_path}/dense.txt has changed since this recipe was stored: "
        "remove prompt_sha256 to use it as it is now"
    )
    (tmp_path / "dense.txt").unlink()
    assert settle(stored) == settled, "its caption may be reused"
    with pytest.raises(UsageError, match=r"^engines\.captions\.dense\.prompt: cannot read .*: No such file"):
        settle(given)


def test_only_what_has_changed_and_what_reads_it_runs_again(tmp_path: Path) -> None:
    texts = {"dense": "See.", "short": "{dense} and {ocr}", "plain": "{alt_text}"}
    before = settle(make_engines(tmp_path, **texts))
    moved = tmp_path / "moved"
    moved.mkdir()
    for changes, reused in (
        ({}, ["ocr", "captions.dense", "captions.short", "captions.plain"]),
        ({"dense": "Look."}, ["ocr", "captions.plain"]),
        ({"short": "{ocr}"}, ["ocr", "captions.dense", "captions.plain"]),
        ({"plain": "{dense}"}, ["ocr", "captions.dense", "captions.short"]),
    ):
        assert find_reused_stages(before, settle(make_engines(moved, **texts | changes))) == reused
    without_dense = {name: text for name, text in texts.items() if name == "plain"}
    assert find_reused_stages(before, settle(make_engines(moved, **without_dense))) == ["ocr", "captions.plain"]
    other = make_engines(moved, **texts) | {"ocr": {"engine": "rapidocr", "batch_size": 3}}
    assert find_reused_stages(before, settle(other)) == ["captions.dense", "captions.plain"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{dense}", "unknown field {dense}: use one of alt_text, ocr, ocr_boxes"),
        ("{boxes}", "unknown field {boxes}: use one of alt_text, ocr, ocr_boxes"),
        ("{0.__class__}", "{0.__class__}: only the name of a field can stand in braces; write {{ and }} for braces"),
        (" \n", "it is empty"),
    ],
)
def test_wrong_prompts(text: str, fault: str, tmp_path: Path) -> None:
    engines = settle(make_engines(tmp_path, dense=text))
    with pytest.raises(UsageError) as error:
        load_prompt(engines, "captions.dense")
    assert str(error.value) == f"engines.captions.dense.prompt {tmp_path}/dense.txt: {fault}"
