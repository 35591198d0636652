"""Lists that tables hold as text."""

from typing import Any

import pytest

from curation.tasks.written_lists import parse_list, parse_texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['x', 'y']", ["x", "y"]),
        ('["x", "y"]', ["x", "y"]),
        (" [\"it's\", '\"']\n", ["it's", '"']),
        ("[1, 2.5]", [1, 2.5]),
        ("[]", []),
        ("[['x'], ('y', 'z')]", [["x"], ("y", "z")]),
        ("['x' 'y']", None),  # the text of an array, which Python would read as ['xy']
        ("['x'\n 'y' 'z']", None),
        ("[['x' 'y'], 'z']", None),
        ("x, y", None),
        ("5", None),
        ("{'x': 1}", None),
        ("[x]", None),
        ("[__import__('os')]", None),
        ("['x'", None),
        ("[" * 100_000, None),
        ("['" + "x" * (1 << 16) + "']", None),
        ("", None),
    ],
)
def test_lists(text: str, expected: Any) -> None:
    assert parse_list(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("['x', 'y']", ["x", "y"]), ("[1, 2]", None), ("['x', 1]", None), ("[]", None), ("x", None)]
)
def test_lists_of_texts_alone(text: str, expected: list[str] | None) -> None:
    assert parse_texts(text) == expected
