"""`--quiet`, `--verbose` and `--log-file`, which every command has."""

import re
from pathlib import Path

import polars
import pytest

from pipelines.cli.commands import COMMANDS
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import in_process, shardloom

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture
def select(tmp_path: Path) -> list[str]:
    """A command that logs one message."""
    polars.DataFrame({"uid": ["0" * 32], "url": ["https://a.example/1.jpg"]}).write_parquet(tmp_path / "rows.parquet")
    return [
        "select",
        str(tmp_path / "rows.parquet"),
        "--subset",
        str(tmp_path / "uids.npy"),
        "--output",
        str(tmp_path / "out"),
    ]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"recipe"}))
def test_every_command_has_them(name: str) -> None:
    shown = in_process(name, "--help").stdout
    for option in ("--quiet", "-q", "--verbose", "-v", "--log-file"):
        assert re.search(rf"[ │]{option} ", shown), option


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ([], r"\S+uids\.npy: 1 uids\n"),
        (["-q"], ""),
        (["-v"], rf"{TIME} DEBUG command: .*\n{TIME} INFO \S+uids\.npy: 1 uids\n"),
    ],
)
def test_what_is_shown(select: list[str], option: list[str], shown: str, tmp_path: Path) -> None:
    done = in_process(*select, *option, "--log-file", tmp_path / "run.log")
    assert re.fullmatch(shown, done.stderr)
    assert done.stdout == f"{tmp_path}/out: 1 rows in, 1 out, 0 left out\n"  # the result, whatever is logged
    logged = rf"{TIME} DEBUG command: .*\n{TIME} INFO \S+uids\.npy: 1 uids\n"
    assert re.fullmatch(logged, (tmp_path / "run.log").read_text())


def test_an_error_is_shown_and_logged(tmp_path: Path) -> None:
    done = in_process("verify", tmp_path / "none", "-q", "--log-file", tmp_path / "run.log")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f" ERROR {line}\n" in (tmp_path / "run.log").read_text()


def test_both_at_once(select: list[str]) -> None:
    done = in_process(*select, "-q", "-v")
    assert (done.returncode, done.stderr) == (2, "error: --quiet and --verbose exclude each other: pass one of them\n")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_workers_line_names_its_pool(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", [jpeg(seed) for seed in range(8)])
    done = shardloom("annotate", "ocr", "-i", tmp_path / "0.tar", "-o", tmp_path / "out", "--workers", 1, "-v")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"ocr worker \d+: {TIME} DEBUG started\n", done.stderr), done.stderr
    assert "\x1b" not in done.stderr
