"""The log: what is shown of it, what a file of it holds, and that no message steers a terminal or tells a secret."""

import logging
import re
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.log import LOG, configure_log, get_worker_level, is_shown, reset_log

HOSTILE = "key \x1b]0;owned\x07 of https://me:secret@host/a"
SAFE = r"key \x1b]0;owned\x07 of https://***@host/a"


def _log_all() -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOG.log(level, f"{logging.getLevelName(level)} %s", HOSTILE)


@pytest.mark.parametrize(
    ("level", "shown"),
    [(logging.INFO, ["INFO", "WARNING", "ERROR"]), (logging.WARNING, ["WARNING", "ERROR"])],
)
def test_messages_are_shown_from_a_level_on(level: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure_log(level)
    _log_all()
    assert capsys.readouterr() == ("", "".join(f"{name} {SAFE}\n" for name in shown))
    assert [is_shown(one) for one in (logging.INFO, logging.WARNING)] == [level == logging.INFO, True]


def test_details_have_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log(logging.DEBUG, process="ocr worker 7")
    LOG.debug("started")
    assert re.fullmatch(r"ocr worker 7: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} DEBUG started\n", capsys.readouterr().err)


def test_a_file_holds_every_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new/run.log"
    configure_log(logging.WARNING, str(file))
    _log_all()
    LOG.info("in a bar", extra={"is_on_screen": True})
    configure_log(file=str(file))  # appends, and shows nothing twice
    LOG.info("again")
    LOG.info("50 %", extra={"is_on_screen": True})
    lines = [re.sub(r"^\S+ \S+ ", "", line) for line in file.read_text().splitlines()]
    names = ("DEBUG", "INFO", "WARNING", "ERROR")
    assert lines == [*(f"{name} {name} {SAFE}" for name in names), "INFO in a bar", "INFO again", "INFO 50 %"]
    assert capsys.readouterr().err == f"WARNING {SAFE}\nERROR {SAFE}\nagain\n"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=f"^--log-file {tmp_path}/file/run.log: .*; name a file in a folder that you can"
    ):
        configure_log(file=f"{tmp_path}/file/run.log")


def test_a_program_that_imports_shardloom_handles_the_messages_itself(caplog: pytest.LogCaptureFixture) -> None:
    reset_log()
    with caplog.at_level(logging.INFO, logger="shardloom"):
        LOG.info(HOSTILE)
    assert caplog.messages == [SAFE]
    assert not is_shown(logging.ERROR)


def test_workers_tell_details_only_where_they_are_shown(tmp_path: Path) -> None:
    levels = []
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        configure_log(level, str(tmp_path / "log"))
        levels.append(get_worker_level())
    assert levels == [logging.DEBUG, logging.WARNING, logging.WARNING]
