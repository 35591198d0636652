"""From recipes to engines: what is wrong is said before anything is loaded."""

import pytest

from pipelines.engines import check_engines, load_engine
from pipelines.recipe import EngineSpec
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("engine", "settings", "line"),
    [
        ("paddle", {}, "engines.ocr: no engine is named 'paddle'"),
        ("no.such.module:Ocr", {}, "engines.ocr: cannot make 'no.such.module:Ocr': No module named 'no'"),
        ("tests.pipelines.engines:NoOcr", {}, "engines.ocr: cannot make 'tests.pipelines.engines:NoOcr'"),
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


def test_an_engine_of_ones_own() -> None:
    engine = load_engine("ocr", EngineSpec(engine="tests.pipelines.engines:PixelOcr"))
    assert (engine.fingerprint.name, engine.column.name) == ("pixel", "ocr")
