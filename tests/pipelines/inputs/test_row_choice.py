"""The rows of a limit and of a sample depend on the input's row counts, its names and the seed alone."""

import itertools
from collections import Counter

import pytest

from pipelines.inputs.row_choice import RowChoice, choose_rows, describe_other_choice
from pipelines.recipes.rows import ChosenRows, FilteredRows
from schemas.errors import UsageError

FILES = {"a": 5, "b": 0, "c": 7, "d": 9}


def choose(files: dict[str, int] = FILES, **options: int) -> dict[str, RowChoice | None]:
    """The choice of these options, by file."""
    return dict(choose_rows(ChosenRows(**options), list(files), str, files.__getitem__))


def rows(choices: dict[str, RowChoice | None], files: dict[str, int] = FILES) -> list[tuple[str, int]]:
    """The chosen rows, as the marks have them."""
    found = []
    for name, choice in choices.items():
        assert choice is not None
        taken = list(choice.select(range(files[name])))
        assert (len(taken), choice.rows) == (choice.chosen, files[name])
        found += [(name, row) for row in taken]
    return found


def test_without_options_all_rows_are_chosen() -> None:
    assert choose() == dict.fromkeys(FILES)


@pytest.mark.parametrize(
    ("limit", "counts"),
    [(1, {"a": 1}), (5, {"a": 5}), (6, {"a": 5, "c": 1}), (12, {"a": 5, "c": 7}), (99, {"a": 5, "c": 7, "d": 9})],
)
def test_the_first_rows(limit: int, counts: dict[str, int]) -> None:
    choices = choose(limit=limit)
    assert {name: choice.chosen for name, choice in choices.items() if choice} == counts
    assert rows(choices) == [(name, row) for name, count in counts.items() for row in range(count)]


def test_no_file_is_counted_after_the_last_chosen_row() -> None:
    counted = []

    def count(name: str) -> int:
        counted.append(name)
        return FILES[name]

    choose_rows(ChosenRows(limit=6), list(FILES), str, count)
    assert counted == ["a", "b", "c"]


@pytest.mark.parametrize("options", [{"limit": 6}, {"sample": 9}])
def test_a_damaged_file_without_rows_is_kept(options: dict[str, int]) -> None:
    """A limit asks for none after its last row."""
    asked = []

    def is_damaged(name: str) -> bool:
        asked.append(name)
        return name == "b"

    files = FILES | {"e": 0}
    found = dict(choose_rows(ChosenRows(**options), list(files), str, files.__getitem__, is_damaged))
    assert found["b"] is not None
    assert (found["b"].chosen, found["b"].rows, list(found["b"].select([]))) == (0, 0, [])
    assert asked == (["b"] if "limit" in options else ["b", "e"])
    del found["b"]
    assert found == choose(files, **options)


@pytest.mark.parametrize(("options", "option"), [({"limit": 6}, "limit"), ({"sample": 9}, "sample")])
def test_nothing_to_choose_from(options: dict[str, int], option: str) -> None:
    for files in ({}, {"a": 0, "b": 0}):
        with pytest.raises(UsageError, match=f"^{option}: the input has no row$"):
            choose(files, **options)


@pytest.mark.parametrize("size", [1, 4, 20, 21, 30])
def test_a_sample_has_its_size(size: int) -> None:
    found = rows(choose(sample=size))
    assert len(found) == len(set(found)) == min(size, 21)
    assert found == rows(choose(sample=size))


def test_samples_by_seed() -> None:
    """Which rows these are is fixed: a set of today is resumed by a later version."""
    assert rows(choose(sample=4)) == [("a", 1), ("c", 6), ("d", 2), ("d", 3)]
    assert rows(choose(sample=4, seed=1)) == [("a", 3), ("d", 0), ("d", 1), ("d", 4)]


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    nested = [set(rows(choose(sample=size))) for size in range(1, 22)]
    assert all(small < large for small, large in itertools.pairwise(nested))


def test_each_row_has_the_same_chance() -> None:
    """Of 2,000 samples of 7 of 21 rows, each row is in a third: 667, with a standard deviation of 21."""
    found = Counter(row for seed in range(2000) for row in rows(choose(sample=7, seed=seed)))
    assert len(found) == 21
    assert all(abs(count - 2000 / 3) < 5 * 21 for count in found.values())


def test_another_choice_is_another_number_of_rows() -> None:
    """A condition does not depend on other units, and an input of which all rows are chosen may grow."""
    choice = RowChoice("sample", 3, 7, "a", 0, 1)
    said = "the input, of which sample chooses rows, has"
    assert describe_other_choice(ChosenRows(sample=4), choice, 3) == ""
    assert describe_other_choice(ChosenRows(sample=4), choice, 2) == said
    assert describe_other_choice(ChosenRows(sample=4), None, 3) == said
    assert describe_other_choice(ChosenRows(limit=4), None, 1) == said.replace("sample", "limit")
    assert describe_other_choice(ChosenRows(), None, 3) == ""
    assert describe_other_choice(FilteredRows(where="1 = 1"), None, 3) == ""


def test_marks_go_on_after_many_draws() -> None:
    files = {"a": 10_000}
    found = rows(choose(files, sample=5000), files)
    assert len(found) == 5000
    assert {row for _, row in found} - set(range(4096))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"limit": 1, "sample": 1}, "limit chooses rows too: give one of them"),
        ({"seed": 1}, "it is for sample: give both, or neither"),
        ({"seed": 1, "limit": 2}, "it is for sample: give both, or neither"),
        ({"limit": 0}, "greater than 0"),
    ],
)
def test_refused(options: dict[str, int], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        ChosenRows(**options)
