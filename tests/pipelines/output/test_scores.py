"""Scores are kept beside the state of the set that they are of."""

from pathlib import Path

from pipelines.output.scores import describe_state, read_scores, record_scores
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.folder import Folder

FOUND = {"what": "ocr", "total": {"images": 3}}


def write_manifest(folder: Folder, sha256: str) -> None:
    data = OutputFile(path="data/a.parquet", rows=1, size=1, sha256=sha256)
    made = Manifest.build("a", "r", inputs=[], rows_in=1, data=data, others=[])
    folder.write("manifests/a.json", made.to_json())


def test_scores_of_the_set_as_it_is(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    write_manifest(folder, "one")
    assert read_scores(folder, read_manifests(folder)) == []
    record_scores(folder, FOUND)
    assert read_scores(folder, read_manifests(folder)) == [FOUND]
    state = describe_state(read_manifests(folder))
    write_manifest(folder, "two")
    assert describe_state(read_manifests(folder)) != state
    assert read_scores(folder, read_manifests(folder)) == []


def test_a_damaged_file_is_passed_over(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    write_manifest(folder, "one")
    record_scores(folder, FOUND)
    folder.write("evaluations/boxes.json", b"{}")
    assert read_scores(folder, read_manifests(folder)) == [FOUND]
