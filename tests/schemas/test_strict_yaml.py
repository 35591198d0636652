"""YAML of strangers: nothing counts silently, and nothing expands."""

import pytest
import yaml

from schemas.strict_yaml import MAX_DEPTH, MAX_NODES, load_yaml

LAUGHS = "a: &a [x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("steps: 1\nlr: 2\nsteps: 3\n", "the key 'steps' occurs twice"),
        ("run: {workers: 1, workers: 2}", "the key 'workers' occurs twice"),
        ("1: a\n1: b\n", "the key 1 occurs twice"),
        ("a: &x 1\nb: *x\n", r"aliases \(\*name\) are not allowed"),
        ("base: &b {a: 1}\nrun:\n  <<: *b\n", r"aliases \(\*name\) are not allowed"),
        (LAUGHS, r"aliases \(\*name\) are not allowed"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        ("[" + "1," * MAX_NODES + "]", "more than 100,000 values"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: 1\nkind: 1" + ":1" * 400_000, "line 2: a number of 800,001 characters: put it in quotes"),
        ("seed: 0x" + "f" * 5000, "a number of 5,002 characters"),
        ("seed: " + "9" * 5000, "a number of 5,000 characters"),
        ("1" * 101 + ".5: a", "a number of 103 characters"),
        *((f"a: !!{tag} x", r"a value does not fit its tag \(!!type\)") for tag in ("bool", "timestamp")),
        ("a: !!int ''", r"a value does not fit its tag \(!!type\)"),
    ],
)
def test_what_is_refused(text: str, line: str) -> None:
    with pytest.raises(yaml.YAMLError, match=line):
        load_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "a: {b: [1, 2.5, true, null, 2020-01-01, 'x']}\nc:\n  - d\n",
        "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1),
        "yes: 1\nno: 2\n'yes': 3\n",
        "? [a, b]\n: 1\n",
        f"[0x{'f' * 98}, -{'9' * 99}, 1:30:00, 1_000, 0b101, 017, .5, 1e3, 1:30.5, '{'9' * 5000}']",
    ],
)
def test_all_else_is_as_safe_load_has_it(text: str) -> None:
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError as error:
        with pytest.raises(yaml.YAMLError, match=str(error).split("\n")[0]):
            load_yaml(text)
    else:
        assert load_yaml(text) == expected
