"""A page shows a sample of few files, one key, or the rows that meet a condition."""

import pyarrow as pa
import pytest

from pipelines.view.options import ViewOptions
from pipelines.view.rows import MAX_FILES, Choice, choose_rows
from schemas.errors import UsageError

FILES = [f"{number:08d}" for number in range(10)]
ROWS = 20


def load(name: str) -> pa.Table:
    numbers = range(ROWS)
    keys = [f"{name}-{number}" for number in numbers]
    return pa.table({"key": keys, "uid": [f"u{key}" for key in keys], "width": [100 * number for number in numbers]})


def choose(**options: object) -> tuple[list[str], Choice]:
    """The keys of the chosen rows."""
    choice = choose_rows(FILES, load, ViewOptions.model_validate(options), "set")
    return [key for part in choice.parts for key in part.rows["key"].to_pylist()], choice


def test_a_sample_is_spread_over_few_files() -> None:
    keys, choice = choose(sample=8)
    spread = [FILES[len(FILES) * number // MAX_FILES] for number in range(MAX_FILES)]
    assert keys == [f"{name}-{number}" for name in spread for number in (0, 10)]
    assert choice.describe() == "8 of 80 rows; charts are of the 80 rows in 4 of 10 files"


def test_a_set_with_fewer_rows_is_shown_whole() -> None:
    keys, choice = choose(sample=100)
    assert len(keys) == choice.shown == MAX_FILES * ROWS
    keys, choice = choose(sample=1)
    assert keys == [f"{FILES[0]}-0"]


def test_a_condition_reads_on_until_it_has_enough() -> None:
    keys, choice = choose(sample=6, where="width > 1800")
    assert keys == [f"{name}-19" for name in sorted(choice_names(choice))]
    assert (len(keys), choice.matching, len(choice.seen)) == (6, 6, MAX_FILES)
    assert choose(sample=60, where="width > 1800")[1].shown == len(FILES)


def choice_names(choice: Choice) -> list[str]:
    return [part.name for part in choice.parts]


@pytest.mark.parametrize("key", ["00000007-3", "u00000007-3", "00000007/00000007-3"])
def test_one_key(key: str) -> None:
    assert choose(key=key)[0] == ["00000007-3"]


def load_repeated(name: str) -> pa.Table:
    """Two rows of a key and a uid of their own in each file, and a third whose key the second and the sixth have."""
    keys = [f"./{name}", "dir/0"] + ["same"] * (name in (FILES[1], FILES[5]))
    return pa.table({"key": keys, "uid": pa.array([f"u{name}", None, "v"][: len(keys)])})


@pytest.mark.parametrize(
    ("key", "file", "found", "read"),
    [
        ("same", FILES[1], "same", 2),  # the first of both
        (f"{FILES[5]}/same", FILES[5], "same", 1),
        (f"./{FILES[2]}", FILES[2], f"./{FILES[2]}", 3),  # a slash in a key names no file
        (f"{FILES[7]}/./{FILES[7]}", FILES[7], f"./{FILES[7]}", 1),
        (f"{FILES[7]}/u{FILES[7]}", FILES[7], f"./{FILES[7]}", 1),
        ("dir/0", FILES[0], "dir/0", 1),
    ],
)
def test_keys_with_slashes_and_of_several_files(key: str, file: str, found: str, read: int) -> None:
    loaded = []

    def load_logged(name: str) -> pa.Table:
        loaded.append(name)
        return load_repeated(name)

    choice = choose_rows(FILES, load_logged, ViewOptions(key=key), "set")
    (part,) = choice.parts
    assert choice.matching == 1
    assert (part.name, part.rows["key"].to_pylist(), len(loaded)) == (file, [found], read)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "nowhere"}, "set has no row with the key or uid 'nowhere'"),
        ({"key": "00000001/00000007-3"}, "set has no row with the key or uid '00000001/00000007-3'"),
        ({"where": "width > 9000"}, "set has no row with --where width > 9000"),
        ({"where": "height > 1"}, "--where: there is no column 'height': the columns are key, uid, width"),
    ],
)
def test_nothing_found(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        choose(**options)
    assert str(raised.value) == message


def test_a_wrong_condition_is_refused_before_a_file_is_read() -> None:
    def refuse(name: str) -> pa.Table:
        raise AssertionError(name)

    with pytest.raises(UsageError, match="is no condition"):
        choose_rows(FILES, refuse, ViewOptions(where="width >"), "set")


def test_a_set_without_rows() -> None:
    choice = choose_rows([], load, ViewOptions(), "set")
    assert (choice.parts, choice.shown) == ([], 0)
