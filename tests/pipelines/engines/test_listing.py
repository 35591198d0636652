"""The list of engines as a user and a script see it: what is ready here, what is missing, and how to get it."""

import json
from pathlib import Path

import pytest
import rapidocr

from curation.engines.registry import ENGINES
from pipelines.cli.app import main
from pipelines.engines.listing import ENVIRONMENTS, as_dicts, list_engines
from pipelines.environments.python import get_completion_mark
from tests.conftest import REPOSITORY
from tests.support.registries import forget

MODELS = str(Path(rapidocr.__file__).parent / "models")


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path / "environments"))
    forget(monkeypatch, ENGINES)  # a command that another test has run in this process may have trusted some


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code, *capsys.readouterr()


@pytest.mark.usefixtures("nothing_built")
def test_what_is_missing_and_the_command_that_gets_it() -> None:
    found = {one["engine"]: one for one in as_dicts(list_engines({}))}
    assert [name for name in found if name != "shardloom"] == [  # which only an installed package has
        "rapidocr",
        "paddleocr",
        "caption",
        "ram",
        "siglip",
        "grounding_dino",
        "groundingdino-py",
        "endpoint",
        "transformers",
        "img2dataset",
    ]
    assert [name for name, one in found.items() if one["is_ready"]] == ["rapidocr", "caption", "grounding_dino"]
    assert [name for name, one in found.items() if one["is_default"]] == [
        "rapidocr",
        "caption",
        "grounding_dino",
        "img2dataset",
    ]
    images = found["img2dataset"]
    assert images["missing"] == ["its environment, img2dataset"]
    assert images["get"] == "shardloom engines --build img2dataset"
    assert images["note"] == "built at the first download, if not before"
    paddle = found["paddleocr"]
    assert (paddle["kind"], paddle["environment"]) == ("ocr", "paddleocr")
    assert paddle["missing"][0] == "its environment, paddleocr"
    assert paddle["missing"][1].startswith("paddleocr: no weights; pass --weights ocr=FOLDER with det/ and rec/ ")
    assert paddle["get"] == "shardloom engines --build paddleocr"
    ram = found["ram"]
    assert ram["missing"][0].startswith("ram: pass vocabulary=FILE with the tags of the weights, one per line: ")
    assert ram["get"] == "shardloom annotate tags:ram --weights tags=FOLDER"
    assert found["endpoint"]["missing"] == [
        "endpoint: no model: set model in the engine's settings, to a name that the server knows"
    ]
    assert found["endpoint"]["get"] == "shardloom recipe copy captions"
    siglip = found["siglip"]
    assert siglip["missing"][0].startswith("siglip: Shardloom ships no weights; pass weights=FOLDER with ")
    assert siglip["get"] == "shardloom annotate tags:siglip --weights tags=FOLDER"


@pytest.mark.usefixtures("nothing_built")
def test_a_folder_of_weights_is_looked_at(tmp_path: Path) -> None:
    [paddle] = [one for one in list_engines({"ocr": MODELS}) if one.engine == "paddleocr"]
    assert paddle.missing == ["its environment, paddleocr"]
    for model in ("det", "rec"):
        (tmp_path / model).mkdir()
        for end in ("json", "pdiparams", "yml"):
            (tmp_path / model / f"inference.{end}").write_text("Global:\n  model_name: PP-OCRv5_server\n")
    [paddle] = [one for one in list_engines({"ocr": str(tmp_path)}) if one.engine == "paddleocr"]
    assert paddle.get == "shardloom engines --build paddleocr-gpu", "paddlepaddle's own weights need paddlepaddle"
    get_completion_mark("paddleocr-gpu").parent.mkdir(parents=True)
    get_completion_mark("paddleocr-gpu").touch()
    [paddle] = [one for one in list_engines({"ocr": str(tmp_path)}) if one.engine == "paddleocr"]
    assert (paddle.missing, paddle.get) == ([], None)


@pytest.mark.usefixtures("nothing_built")
def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run("engines", capsys=capsys)
    assert code == 0
    assert text.splitlines()[:2] == ["ocr      rapidocr *          ready", "ocr      paddleocr           not ready"]
    assert "         get it:  shardloom engines --build paddleocr" in text.splitlines()
    assert text.splitlines()[-4:] == [
        "images   img2dataset *       not ready",
        "         missing: its environment, img2dataset",
        "         built at the first download, if not before",
        "         get it:  shardloom engines --build img2dataset",
    ]
    code, text, _ = run("engines", "--json", "--weights", f"ocr={MODELS}", capsys=capsys)
    assert (code, json.loads(text)) == (0, as_dicts(list_engines({"ocr": MODELS})))
    code, text, error = run("engines", "--build", "tesseract", capsys=capsys)
    assert (code, text) == (2, "")
    assert error == f"error: there is no environment 'tesseract': {', '.join(ENVIRONMENTS)}\n"
    code, text, error = run("engines", "--weights", f"rapidocr={MODELS}", capsys=capsys)
    assert (code, text) == (2, "")
    assert error == "error: --weights: there is no 'rapidocr': use one of ocr, tags, boxes, captions\n"


def test_every_environment_has_exact_pins() -> None:
    pins = {path.stem for path in (REPOSITORY / "pipelines" / "environments").glob("*.txt")} - {"hashes"}
    assert pins == set(ENVIRONMENTS)
    assert {name for engine in ENGINES.shipped.values() if isinstance(name := engine.environment, str)} <= pins
    for name in pins:
        lines = (REPOSITORY / "pipelines" / "environments" / f"{name}.txt").read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))
