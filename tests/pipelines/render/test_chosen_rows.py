"""Captions of fewer rows: the first, a sample, or those that meet a condition, each accounted for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import render_set
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, in_process, rows


@pytest.fixture(scope="module")
def annotations(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of ten images; every fifth has no line, the others one to three."""
    folder = tmp_path_factory.mktemp("annotations")
    return annotation_set(make_shards(folder / "images", shards=3, samples=10), folder / "set")


def render(annotations: Path, output: Path, **options: object) -> Path:
    """Captions of the chosen rows."""
    render_set(RenderRecipe(input=str(annotations), run=ALONE, **options), str(output))
    return output


def keys(output: Path) -> list[str]:
    """The keys of all rows that came out."""
    return [row["key"] for row in rows(output)]


def accounts(output: Path) -> dict[str, tuple[int, int, dict[str, int], dict[str, int]]]:
    """Rows in and out, reasons and rows left out, by output."""
    assert verify(str(output))[1] == []
    return {
        name: (made.rows_in, made.rows_out, made.reasons, made.left_out)
        for name, made in read_manifests(Folder(str(output))).items()
    }


def test_the_first_rows(annotations: Path, tmp_path: Path) -> None:
    whole, first = render(annotations, tmp_path / "all"), render(annotations, tmp_path / "first", limit=13)
    few = "too_few_lines"
    assert accounts(first) == {
        "00000000": (10, 8, {few: 2}, {"limit": 0}),
        "00000001": (10, 2, {few: 1}, {"limit": 7}),
    }
    assert keys(first) == [key for key in keys(whole) if key <= "000000010002"]
    found = collect_stats(str(first))
    assert (found["rows_in"], found["rows_out"], found["quarantined"]) == (20, 10, 3)
    assert found["left_out"] == {"limit": 7}


def test_a_sample(annotations: Path, tmp_path: Path) -> None:
    sample, again = (render(annotations, tmp_path / name, sample=11, seed=3) for name in ("one", "two"))
    assert hashes(sample) == hashes(again)
    assert sum(made[1] + sum(made[2].values()) for made in accounts(sample).values()) == 11
    other = render(annotations, tmp_path / "other", sample=11, seed=4)
    assert keys(other) != keys(sample)
    assert set(keys(sample)) < set(keys(render(annotations, tmp_path / "all")))


def test_a_condition(annotations: Path, tmp_path: Path) -> None:
    output = render(annotations, tmp_path / "out", where="array_length(ocr) > 2 AND width = 64")
    whole = {row["key"]: len(row["ocr"]) for row in rows(annotations)}
    assert keys(output) == [key for key, lines in whole.items() if lines > 2]
    left_out = {name: made[3] for name, made in accounts(output).items()}
    held = [10 - sum(lines > 2 for key, lines in whole.items() if key[7] == str(shard)) for shard in range(3)]
    assert left_out == {f"0000000{shard}": {"where": held[shard]} for shard in range(3)}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"where": "height2 > 3"}, "--where: there is no column 'height2': the columns are uid, url, key, .*"),
        ({"where": "width + 1"}, "--where: 'width [+] 1' is .*, not true or false: compare it with something"),
        ({"where": "max(width) > 1"}, "--where: .* holds an aggregate: .*"),
    ],
)
def test_a_condition_is_checked_before_work(
    annotations: Path, tmp_path: Path, options: dict[str, str], line: str
) -> None:
    with pytest.raises(UsageError, match=f"^{line}$"):
        render(annotations, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_run_is_resumed_with_the_same_options_alone(annotations: Path, tmp_path: Path) -> None:
    command = ["render", "ocr", annotations, "--output", tmp_path / "out", "--workers", "1"]
    assert in_process(*command, "--limit", "13").returncode == 0
    before = hashes(tmp_path / "out")
    (tmp_path / "out/manifests/00000001.json").unlink()
    assert in_process(*command, "--limit", "13").returncode == 0
    assert hashes(tmp_path / "out") == before
    for other in (["--limit", "12"], ["--sample", "13"], [], ["--where", "width > 1"]):
        refused = in_process(*command, *other)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        assert "holds another recipe (limit is 13 there and" in refused.stderr


def test_one_way_to_choose(annotations: Path, tmp_path: Path) -> None:
    command = ["render", "ocr", annotations, "--output", tmp_path / "out"]
    refused = in_process(*command, "--limit", "3", "--where", "width > 1")
    assert refused.returncode == 2
    assert refused.stderr == "error: recipe: where: limit chooses rows too: give one of them\n"


def test_annotations_that_have_grown_or_shrunk(annotations: Path, tmp_path: Path) -> None:
    """A limit and a condition go on to the new rows; a sample would have had other rows of those that are committed."""
    grown, lost = tmp_path / "set", [tmp_path / f"set/{name}" for name in ("manifests/00000002.json", "README.md")]
    shutil.copytree(annotations, grown)
    kept = {path: path.read_bytes() for path in lost if path.exists()}
    lost[0].unlink()
    choices: dict[str, dict[str, object]] = {
        "limit": {"limit": 23},
        "sample": {"sample": 9},
        "where": {"where": "width > 1"},
    }
    for name, options in choices.items():
        render(grown, tmp_path / name, **options)
    for path, data in kept.items():
        path.write_bytes(data)
    for name in ("limit", "where"):
        render(grown, tmp_path / name, **choices[name])
        assert hashes(tmp_path / name) == hashes(render(grown, tmp_path / f"{name}-anew", **choices[name]))
    said = "^the input, of which {} chooses rows, has changed since .*: use a new output folder$"
    with pytest.raises(UsageError, match=said.format("sample")):
        render(grown, tmp_path / "sample", sample=9)
    lost[0].unlink()
    render(grown, tmp_path / "where", where="width > 1")
    with pytest.raises(UsageError, match=said.format("limit")):
        render(grown, tmp_path / "limit", limit=23)
