"""A command that takes rows in and puts none out has failed, and says why by count."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.download import part as download_part
from pipelines.output.totals import EmptyOutputError, Totals, check_not_empty
from tests.pipelines.support.metadata import StandIn, write_metadata
from tests.pipelines.support.sets import annotation_set, caption_set, in_process


def test_reasons_are_told_by_count() -> None:
    totals = Totals(1, 18, 0, Counter({"no_caption": 6, "incomplete": 12}))
    with pytest.raises(EmptyOutputError) as error:
        check_not_empty(totals, "out")
    assert str(error.value) == (
        "out: none of 18 rows came out (12 incomplete, 6 no_caption): see quarantine/ there for the details of each"
    )
    check_not_empty(Totals(1, 0, 0), "out")
    check_not_empty(Totals(1, 18, 1, Counter({"no_caption": 17})), "out")


@pytest.fixture
def made(make_shards: Callable[..., str], tmp_path: Path) -> Path:
    """Images, annotations, captions of other images, and metadata of images that are gone."""
    images = make_shards(tmp_path / "images", shards=1, samples=5)
    make_shards(tmp_path / "others", shards=2, samples=4)
    (tmp_path / "others/00000000.tar").unlink()
    caption_set(annotation_set(images, tmp_path / "annotations"), tmp_path / "captions")
    write_metadata(tmp_path / "a.parquet", [f"https://a.example/{number}/http_404" for number in range(3)])
    return tmp_path


COMMANDS = {
    "render ocr {made}/annotations -o {out} --min-lines 9": "{out}: none of 5 rows came out (5 too_few_lines)",
    "select {made}/a.parquet -o {out} --min-side 9999": "{out}: none of 3 rows came out (3 too_small)",
    "shard --images {made}/others/*.tar --captions {made}/captions -o {out}": "{out}: none of 4 rows came out",
    "download {made}/a.parquet -o {out}": "{out}: none of 3 rows came out (3 http_404)",
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_fails_that_puts_nothing_out(
    made: Path, tmp_path: Path, command: str, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_part, "download_images", StandIn())
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    names = {"made": made, "out": tmp_path / "out"}
    words = [word.format(**names) for word in command.split()] + ["--workers", "1"] + ["--json"] * as_json
    for _ in range(2):  # and again, when it has nothing left to do
        done = in_process(*words)
        assert done.returncode == 1, done.stderr
        assert f"error: {COMMANDS[command].format(**names)}" in done.stderr
        if as_json:
            assert json.loads(done.stdout)["rows_out"] == 0
        else:
            assert " 0 out, " in done.stdout


def test_a_download_may_be_told_what_is_too_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = StandIn()
    monkeypatch.setattr(download_part, "download_images", stand_in)
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    path = write_metadata(tmp_path / "a.parquet", [f"https://a.example/{end}" for end in ("1.jpg", "http_503")])

    def code(*flags: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as done:
            main(["download", path, "-o", str(tmp_path / "out"), "--workers", "1", *flags])
        return done.value.code, capsys.readouterr().err.splitlines()[-1]

    why = "only 1 of 2 images were downloaded, below min_success, 0.51 (1 http_503)"
    assert code("--min-success", "0.51") == (1, f"error: {why}; what was downloaded is kept")
    assert code("--min-success", "0.5")[0] == 0
    assert code("--min-success", "1.5") == (
        *(2, "error: recipe: run.min_success: input should be less than or equal to 1, not 1.5"),
    )
    stand_in.is_mended = True
    with pytest.raises(SystemExit) as done:
        main(["download", path, "-o", str(tmp_path / "out"), "--workers", "1", "--min-success", "1", "--retry-failed"])
    assert done.value.code == 0
