"""What the recipe in a data set's folder can't decide when engines are added to the set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from pipelines.cli.app import main
from pipelines.engines.loader import check_engines
from pipelines.engines.untrusted_settings import refuse_untrusted_settings
from pipelines.recipes.annotate import CaptionEngineOptions, EngineOptions
from schemas.errors import UsageError
from tests.conftest import jpeg, write_shard

CAPTION = {"engine": "caption"}
FROM_THE_HUB = {"weights": "someone/weights", "allow_download": True}
DETECTOR = {"engine": "grounding_dino", "settings": FROM_THE_HUB}
TAGGER = {"engine": "siglip", "settings": FROM_THE_HUB | {"vocabulary": "/proc/version"}}


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is asked of the hub, which must be nothing."""
    asked: list[object] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: asked.append(name))
    yield asked
    assert asked == []


def write_set(folder: Path, engines: dict[str, Any], **more: Any) -> Path:
    """An annotation set's folder with nothing but a recipe, and the shard that this names."""
    folder.mkdir()
    write_shard(folder / "0.tar", [jpeg(0)])
    recipe = {"kind": "annotate", "input": [f"{folder}/0.tar"], "engines": engines}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | more))
    return folder


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize(
    ("engines", "arguments", "said"),
    [
        (  # other tags: the boxes have to be looked for anew
            {"tags": CAPTION, "boxes": DETECTOR},
            ["--add", "tags", "--vocabulary", "words.txt"],
            "weights of boxes to 'someone/weights', and a set does not decide that: "
            "pass --weights boxes=someone/weights if you want it",
        ),
        (
            {"tags": CAPTION, "boxes": DETECTOR},
            ["--add", "tags,boxes", "--vocabulary", "words.txt", "--weights", "boxes=someone/weights"],
            "allow_download of boxes to True, and a set does not decide that: "
            "pass --weights boxes=NAME --allow-download if you want it",
        ),
        (
            {"ocr": {"engine": "rapidocr"}, "tags": TAGGER},
            ["--add", "tags", "--weights", "tags=words", "--allow-download"],
            "vocabulary of tags to '/proc/version', and a set does not decide that: "
            "pass --vocabulary /proc/version if you want it",
        ),
        (  # the tags are there, but boxes would be looked for by words of the set's choice
            {"tags": TAGGER},
            ["--add", "boxes"],
            "vocabulary of tags to '/proc/version', and a set does not decide that: "
            "pass --vocabulary /proc/version if you want it",
        ),
        (
            {"ocr": {"engine": "rapidocr"}, "tags": {"engine": "ram", "settings": {"thresholds": "/proc/version"}}},
            ["--add", "tags", "--weights", "tags=ram.pth", "--vocabulary", "words.txt"],
            "thresholds of tags to '/proc/version', and a set does not decide that: "
            "pass a recipe with run.reuse if you want it",
        ),
    ],
)
def test_what_a_set_names_is_not_taken(
    engines: dict[str, Any], arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "set", engines)
    with pytest.raises(SystemExit) as done:
        main(["annotate", str(folder), *arguments, "-o", str(tmp_path / "out")])
    assert (done.value.code, capsys.readouterr().err) == (2, f"error: {folder}/recipe.yaml sets {said}\n")
    assert not (tmp_path / "out").exists()


def test_a_set_does_not_say_how_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster that it named would run what it likes in the driver."""
    folder = write_set(tmp_path / "set", {"ocr": {"engine": "rapidocr"}}, run={"address": "ray://elsewhere:10001"})
    with pytest.raises(SystemExit) as done:
        main(["annotate", str(folder), "--add", "tags", "-o", str(tmp_path / "out")])
    line = f"error: {folder}/recipe.yaml has a `run`, which the recipe of a set never has: remove it there\n"
    assert (done.value.code, capsys.readouterr().err) == (2, line)


def test_what_the_user_names_and_what_does_not_run_is_accepted() -> None:
    given = {"boxes": {"engine": None, "settings": FROM_THE_HUB}}
    boxes = EngineOptions.model_validate(DETECTOR)
    with pytest.raises(UsageError):
        refuse_untrusted_settings("SET", {"boxes": boxes}, [], {})
    refuse_untrusted_settings("SET", {"boxes": boxes}, [], given)
    refuse_untrusted_settings("SET", {"boxes": boxes}, ["boxes"], {})
    refuse_untrusted_settings("SET", {"tags": EngineOptions.model_validate(TAGGER)}, ["tags"], {})
    plain = EngineOptions(engine="grounding_dino", settings={"box_threshold": 0.5, "allow_download": False})
    refuse_untrusted_settings("SET", {"boxes": plain}, [], {})


@pytest.mark.usefixtures("own_engines")
def test_of_an_engine_that_does_not_say_which_settings_name_files_all_must_be_named() -> None:
    pixel = EngineOptions(engine="PixelOcr", settings={"log": "/tmp/log"})
    with pytest.raises(UsageError) as error:
        refuse_untrusted_settings("SET", {"ocr": pixel}, [], {})
    assert str(error.value) == (
        "SET sets log of ocr to '/tmp/log', and a set does not decide that: pass a recipe with run.reuse if you want it"
    )


def test_engines_that_do_not_run_need_nothing_at_hand() -> None:
    """Someone else's annotations can be added to without their weights and words."""
    chosen = {
        "ocr": EngineOptions(engine="paddleocr", settings={"weights": "/nowhere"}),
        "tags": EngineOptions(engine="siglip", settings={"weights": "/nowhere", "vocabulary": "/nowhere"}),
    }
    assert check_engines(chosen, reused=["ocr", "tags"]) == []  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^vocabulary /nowhere: No such file"):
        check_engines({"tags": chosen["tags"]}, reused=["ocr"])


def test_a_set_does_not_choose_the_text_that_a_server_gets() -> None:
    """Its prompt may be any file of this machine. A caption that is reused reads none."""
    engines = {"captions.dense": CaptionEngineOptions(engine="endpoint", prompt="/proc/version")}
    refuse_untrusted_settings("set/recipe.yaml", engines, ["captions.dense"], {})
    with pytest.raises(UsageError) as error:
        refuse_untrusted_settings("set/recipe.yaml", engines, [], {})
    assert str(error.value) == (
        "set/recipe.yaml sets prompt of captions.dense to '/proc/version', and a set does not decide that: "
        "pass a recipe with run.reuse if you want it"
    )
