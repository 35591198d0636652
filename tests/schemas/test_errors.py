"""Tests of the line that a user or a quarantined row is told of an error."""

import re
from pathlib import Path

from schemas.errors import to_one_line

ROOT = Path(__file__).parents[2]


def test_an_error_of_several_lines_is_one() -> None:
    assert to_one_line(ValueError("no such key\n  in   line 3\t")) == "no such key in line 3"


def test_it_may_begin_with_the_class_and_has_an_end() -> None:
    assert to_one_line(KeyError("image"), with_type=True) == "KeyError: 'image'"
    assert to_one_line(KeyError("image"), limit=9, with_type=True) == "KeyError:"
    assert len(to_one_line(OSError("x" * 1000))) == 300
    assert to_one_line(AssertionError(), with_type=True) == "AssertionError: without a message"


def test_a_secret_is_masked_before_the_line_is_cut() -> None:
    assert to_one_line("no answer of https://user:password@host/a", limit=27) == "no answer of https://***@ho"


def test_no_other_function_writes_it_out() -> None:
    sources = [
        path for package in ("schemas", "curation", "pipelines", "training") for path in (ROOT / package).rglob("*.py")
    ]
    pattern = re.compile(r'str\(error\)\.split\(\)|\{error\}"\.split\(\)')
    assert [str(path) for path in sources if pattern.search(path.read_text())] == []
