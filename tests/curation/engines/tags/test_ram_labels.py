"""The tags of RAM's weights and their thresholds, in the order of the checkpoint."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from curation.engines.tags.ram_labels import read_labels
from curation.engines.tags.ram_settings import RamTagSettings
from schemas.errors import UsageError


def settings(folder: Path, names: str, thresholds: str | None = None, floor: float = 0.68) -> RamTagSettings:
    (folder / "names.txt").write_text(names)
    file = None
    if thresholds is not None:
        file = folder / "thresholds.txt"
        file.write_text(thresholds)
    return RamTagSettings(
        vocabulary=str(folder / "names.txt"), thresholds=None if file is None else str(file), floor=floor
    )


def test_names_and_limits(tmp_path: Path) -> None:
    labels = read_labels(settings(tmp_path, "t shirt\nt-shirt\n 3D glasses \r\n\n", floor=0.25))
    assert labels.names == ("t shirt", "t-shirt", "3D glasses")
    assert labels.limits.tolist() == [0.25, 0.25, 0.25]
    assert labels.sha256 == hashlib.sha256((tmp_path / "names.txt").read_bytes()).hexdigest()
    assert labels.thresholds_sha256 is None

    labels = read_labels(settings(tmp_path, "dog\ncat\ntree", "0.65\n1\n.5\n"))
    assert np.array_equal(labels.limits, np.array([0.65, 1, 0.5], np.float32))
    assert labels.thresholds_sha256 == hashlib.sha256(b"0.65\n1\n.5\n").hexdigest()


@pytest.mark.parametrize(
    ("names", "thresholds", "problem"),
    [
        ("", None, "vocabulary {0}/names.txt: the file is empty; put one tag on each line"),
        ("dog\n\ncat", None, "vocabulary {0}/names.txt, line 2: '' holds no word; "),
        ("dog\ncat\ndog", None, "vocabulary {0}/names.txt, line 3: 'dog' is on line 1 already; pass the list of the "),
        ("dog\t1\ncat", None, r"vocabulary {0}/names.txt, line 1: 'dog\t1' holds a tab or a control character; "),
        ("dog\ncat", "0.5", "thresholds {0}/thresholds.txt: 1 lines for 2 tags; put one threshold on each line, in "),
        ("dog\ncat", "0.5\nhigh", "thresholds {0}/thresholds.txt, line 2: 'high' is no number from 0 to 1; correct "),
        ("dog\ncat", "nan\n0.5", "thresholds {0}/thresholds.txt, line 1: 'nan' is no number from 0 to 1; correct the "),
        ("dog\ncat", "0.5\n65", "thresholds {0}/thresholds.txt, line 2: '65' is no number from 0 to 1; correct the "),
        ("dog\ncat", "0.5\n\n0.5", "thresholds {0}/thresholds.txt: 3 lines for 2 tags; put one threshold on each "),
    ],
)
def test_faulty_files(names: str, thresholds: str | None, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_labels(settings(tmp_path, names, thresholds))
    assert str(error.value).startswith(problem.format(tmp_path))


def test_missing_files() -> None:
    with pytest.raises(
        UsageError, match=r"^ram: pass vocabulary=FILE with the tags of the weights, one per line: ram_"
    ):
        read_labels(RamTagSettings())
    with pytest.raises(
        UsageError, match=r"^vocabulary /nowhere: No such file or directory; pass a text file with one t"
    ):
        read_labels(RamTagSettings(vocabulary="/nowhere"))
