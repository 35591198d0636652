"""From recipes to engines: what is wrong is said before anything is loaded, and nothing that is named is imported."""

import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from curation.engines.kinds import EngineKind
from curation.engines.registry import ENGINES
from pipelines.engines.loader import (
    check_engines,
    check_settings,
    fetch_weights,
    find_environment,
    load_engine,
    needs_pixels,
)
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from schemas.errors import ShardloomError, UsageError
from tests.support.registries import forget

pytestmark = pytest.mark.usefixtures("own_engines")

PIXEL_OCR = "tests.pipelines.support.engines:PIXEL_OCR"


@pytest.mark.parametrize(
    ("engine", "settings", "line"),
    [
        ("caption", {}, "engines.ocr: the engine caption annotates tags"),
        (
            "no.such.module:Ocr",
            {},
            "engines.ocr: no engine is named 'no.such.module:Ocr': "
            "pass --trust-code no.such.module:Ocr if you trust that code",
        ),
        ("rapidocr", {"side": 5}, "engines.ocr.settings: side: Extra inputs are not permitted"),
        (
            "rapidocr",
            {"detect_side": "wide"},
            "engines.ocr.settings: detect_side: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("PixelOcr", {"height": 5}, "engines.ocr.settings: height: Extra inputs are not permitted"),
        (PIXEL_OCR, {"seconds": "long"}, "engines.ocr.settings: seconds: Input should be a valid number"),
    ],
)
def test_wrong_engines_are_named(engine: str, settings: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError) as error:
        check_engines({"ocr": EngineOptions.model_validate({"engine": engine, "settings": settings})})
    assert str(error.value).startswith(line)


def test_an_unknown_name_is_answered_with_those_of_its_kind() -> None:
    with pytest.raises(UsageError) as error:
        check_engines({"tags": EngineOptions(engine="captoin")})
    assert str(error.value) == (
        "engines.tags: no engine is named 'captoin': use one of caption, ram, siglip, FailingTags"
    )


def test_code_that_a_recipe_names_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as an engine, and neither by preparing, placing or loading it."""
    called: list[object] = []
    monkeypatch.setattr(os, "system", called.append)
    options = EngineOptions.model_validate({"engine": "os:system", "settings": {"command": "true"}})
    for use in (load_engine, find_environment, needs_pixels):
        with pytest.raises(UsageError, match=r"^engines\.ocr: no engine is named 'os:system': pass --trust-code "):
            use("ocr", options)  # type: ignore[operator]
    with pytest.raises(UsageError) as error:
        load_engine("ocr", options, trusted="os:system")
    assert str(error.value) == (
        "--trust-code os:system: it must be of class EngineDeclaration, not builtin_function_or_method"
    )
    assert called == []
    assert "os:system" not in ENGINES.list_names()


def test_missing_weights_are_named() -> None:
    with pytest.raises(UsageError, match=r"rapidocr: no folder /nowhere; pass weights=FOLDER with one "):
        load_engine("ocr", EngineOptions(engine="rapidocr", settings={"weights": "/nowhere"}))


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ((), r"rapidocr: no \*det\*\.onnx in {folder}; pass weights=FOLDER with one \*det\*\.onnx and one "),
        (
            ("det.onnx", "rec.onnx"),
            r"rapidocr: cannot load {folder}/det\.onnx: InvalidProtobuf: .*; pass another folder",
        ),
    ],
)
def test_unfit_weights_of_rapidocr_are_named_before_a_run(names: tuple[str, ...], line: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 99)
    with pytest.raises(UsageError, match=line.format(folder=tmp_path)):
        check_engines({"ocr": EngineOptions(engine="rapidocr", settings={"weights": str(tmp_path)})})


def test_what_is_on_the_hub_is_fetched_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or is named at once where it can't be: not by each worker, when Ray has been started."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    engines: dict[EngineKind, str] = {"tags": "siglip", "boxes": "grounding_dino"}
    for kind, engine in engines.items():
        settings = {"weights": "nobody/nothing", "allow_download": True}
        chosen = {kind: EngineOptions.model_validate({"engine": engine, "settings": settings})}
        with pytest.raises(UsageError, match=r": cannot fetch nobody/nothing from the hub: no hub answers at http://"):
            fetch_weights(chosen)
        fetch_weights(chosen, [kind])
    fetch_weights({"boxes": EngineOptions(engine="grounding_dino")})


def test_missing_siglip_weights_are_named_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"^siglip: no folder /nowhere; pass weights=FOLDER with ") as raised:
        check_engines({"tags": EngineOptions(engine="siglip", settings={"weights": "/nowhere"})})
    assert raised.value.exit_code == 2
    on_the_hub = {"weights": "nobody/nothing", "allow_download": True}
    assert check_engines({"tags": EngineOptions(engine="siglip", settings=on_the_hub)}) == []


def test_demonstration_weights_take_tags_of_an_unknown_vocabulary_with_permission_only(tmp_path: Path) -> None:
    tags = EngineOptions(engine="FailingTags", settings={"caption": "x"})
    with pytest.raises(UsageError) as error:
        check_engines({"tags": tags, "boxes": EngineOptions(engine="grounding_dino")})
    assert str(error.value) == (
        "engines.boxes: the demonstration weights know 76 things, and engines.tags is an engine whose vocabulary is "
        "not known: pass --weights boxes=FOLDER with real ones, or --allow-out-of-vocabulary"
    )
    allowed = EngineOptions(engine="grounding_dino", settings={"allow_out_of_vocabulary": True})
    notice = "boxes: demonstration weights, which know 76 drawn things; pass --weights boxes=FOLDER for more"
    assert check_engines({"tags": tags, "boxes": allowed}) == [notice]
    assert check_engines({"tags": tags, "boxes": EngineOptions(engine="PixelBoxes")}) == []
    (tmp_path / "words.txt").write_text("zeppelin\n")
    known = EngineOptions(engine="caption", settings={"vocabulary": str(tmp_path / "words.txt")})
    with pytest.raises(UsageError, match=r"the tag vocabulary has 1 others \(zeppelin, \.\.\.\): pass --weights"):
        check_engines({"tags": known, "boxes": EngineOptions(engine="grounding_dino")})


def test_an_engine_of_ones_own() -> None:
    for name in ("PixelOcr", PIXEL_OCR):
        engine = load_engine("ocr", EngineOptions(engine=name))
        assert (engine.fingerprint.name, engine.column.name) == ("pixel", "ocr")


def test_an_engine_is_trusted_where_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker, whose registry knows nothing yet."""
    forget(monkeypatch, ENGINES)
    with pytest.raises(UsageError, match=r"^engines\.ocr: no engine is named 'PixelOcr': use one of rapidocr, "):
        load_engine("ocr", EngineOptions(engine="PixelOcr"))
    engine = load_engine("ocr", EngineOptions(engine="PixelOcr"), trusted=PIXEL_OCR)
    assert engine.fingerprint.name == "pixel"


def test_what_an_engine_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.pipelines.support import engines

    def broken(_: object, __: object) -> None:
        raise ValueError("two\nlines")

    monkeypatch.setattr(engines.PixelOcr, "__init__", broken)
    with pytest.raises(ShardloomError) as error:
        load_engine("ocr", EngineOptions(engine="PixelOcr"))
    assert str(error.value) == "engines.ocr: the engine PixelOcr failed: ValueError: two lines"
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("settings", "run", "line"),
    [
        (
            {"base_url": "http://a/v1"},
            {},
            "engines.captions.dense.settings.base_url can't alter the output: set it in "
            "run: {settings: {captions.dense: {base_url: ...}}}",
        ),
        (
            {},
            {"captions": {"seed": 3}},
            "run.settings.captions.seed can alter the output of endpoint: set engines.captions.dense.settings.seed",
        ),
        (
            {},
            {"captions.short": {"in_flight": 3}},
            "run.settings.captions.short: captions.short is not among the engines",
        ),
        ({}, {"captions": {"in_flight": 0}}, "engines.captions.dense.settings: in_flight: Input should be greater .*"),
    ],
)
def test_settings_in_the_wrong_half(settings: dict[str, Any], run: dict[str, Any], line: str) -> None:
    engines = {"captions": {"dense": {"engine": "endpoint", "settings": settings}}}
    recipe = AnnotateRecipe.model_validate({"input": "x", "engines": engines, "run": {"settings": run}})
    with pytest.raises(UsageError, match=f"^{line}"):
        check_settings(recipe)


def test_settings_of_a_run_are_not_in_the_hash() -> None:
    engines = {"captions": {"dense": {"engine": "endpoint", "settings": {"model": "m"}}}}
    run = {"settings": {"captions": {"in_flight": 3, "base_url": "http://a/v1"}, "captions.dense": {"in_flight": 5}}}
    one, other = (
        AnnotateRecipe.model_validate({"input": "x", "engines": engines, "run": given}) for given in ({}, run)
    )
    assert one.compute_sha256() == other.compute_sha256()
    check_settings(other)
    assert other.stages["captions.dense"].settings == {"model": "m", "in_flight": 5, "base_url": "http://a/v1"}
