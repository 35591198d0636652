"""From recipes to engines: what is wrong is said before anything is loaded."""

import pytest

from pipelines.engines.registry import check_engines, load_engine
from pipelines.recipes.annotate import EngineSpec
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("engine", "settings", "line"),
    [
        ("paddle", {}, "engines.ocr: no engine is named 'paddle'"),
        ("no.such.module:Ocr", {}, "engines.ocr: cannot make 'no.such.module:Ocr': No module named 'no'"),
        (
            "tests.pipelines.support.engines:NoOcr",
            {},
            "engines.ocr: cannot make 'tests.pipelines.support.engines:NoOcr'",
        ),
        ("rapidocr", {"side": 5}, "engines.ocr.settings: side: Extra inputs are not permitted"),
        ("rapidocr", {"detect_side": "wide"}, "engines.ocr.settings: detect_side: Input should be a valid integer"),
    ],
)
def test_wrong_engines_are_named(engine: str, settings: dict[str, str], line: str) -> None:
    with pytest.raises(UsageError) as error:
        check_engines({"ocr": EngineSpec.model_validate({"engine": engine, "settings": settings})})
    assert str(error.value).startswith(line)


def test_missing_weights_are_named() -> None:
    with pytest.raises(UsageError, match=r"rapidocr: no weights at /nowhere/det\.onnx"):
        load_engine("ocr", EngineSpec(engine="rapidocr", settings={"weights": "/nowhere"}))


def test_missing_siglip_weights_are_named_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match=r"^siglip: no folder /nowhere; pass weights=FOLDER with ") as raised:
        check_engines({"tags": EngineSpec(engine="siglip", settings={"weights": "/nowhere"})})
    assert raised.value.exit_code == 2
    on_the_hub = {"weights": "nobody/nothing", "allow_download": True}
    assert check_engines({"tags": EngineSpec(engine="siglip", settings=on_the_hub)}) == []


def test_demonstration_weights_take_tags_of_an_unknown_vocabulary_with_permission_only() -> None:
    tags = EngineSpec(engine="tests.pipelines.support.engines:FailingTags", settings={"caption": "x"})
    with pytest.raises(UsageError) as error:
        check_engines({"tags": tags, "boxes": EngineSpec(engine="grounding_dino")})
    assert str(error.value) == (
        "engines.boxes: the demonstration weights know 76 things, and engines.tags is an engine whose vocabulary is "
        "not known: pass --weights boxes=FOLDER with real ones, or --allow-out-of-vocabulary"
    )
    allowed = EngineSpec(engine="grounding_dino", settings={"allow_out_of_vocabulary": True})
    notice = "boxes: demonstration weights, which know 76 drawn things; pass --weights boxes=FOLDER for real"
    assert check_engines({"tags": tags, "boxes": allowed}) == [notice]
    assert check_engines({"tags": tags, "boxes": EngineSpec(engine="tests.pipelines.support.engines:PixelBoxes")}) == []


def test_an_engine_of_ones_own() -> None:
    engine = load_engine("ocr", EngineSpec(engine="tests.pipelines.support.engines:PixelOcr"))
    assert (engine.fingerprint.name, engine.column.name) == ("pixel", "ocr")
