"""Sets of captions: an image is a question, and all its captions are the answers."""

import json
from pathlib import Path

import pytest

from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from tests.curation.tasks.support.json_rows import JSON
from tests.curation.tasks.support.reading import list_faults, read, read_published, read_rows
from tests.curation.tasks.support.table_rows import STRUCTS


def test_karpathy_splits_of_coco(tmp_path: Path) -> None:
    found = read_published(tmp_path, "coco", "dataset_coco.json", "cider", split=["test"])
    assert found.questions == [
        Question(
            "391895",
            "",
            (ImageFile("val2014/COCO_val2014_000000391895.jpg"),),
            ("A man with a red helmet.", "Man riding a motor bike."),
        )
    ]
    assert (found.quarantined, found.other_splits) == ([], 2)
    found = read(tmp_path / "dataset_coco.json", "coco", "cider", split=["train", "restval"])
    assert [(one.id, one.images) for one in found.questions] == [
        ("57870", (ImageFile("train2014/COCO_train2014_000000057870.jpg"),)),
        ("522418", (ImageFile("val2014/COCO_val2014_000000522418.jpg"),)),
    ]
    with pytest.raises(
        UsageError, match=r"dataset_coco\.json: none of its 3 rows is a question; 3 are of other splits than val$"
    ):
        read(tmp_path / "dataset_coco.json", "coco", "cider", split=["val"])


def test_odd_rows_of_karpathy(tmp_path: Path) -> None:
    row = JSON["coco"][0]
    rows = [row, row, row | {"cocoid": 1, "sentences": []}, row | {"cocoid": 2, "filename": 7}, [1]]
    found = read_rows(tmp_path, "coco", "dataset_coco.json", rows, "cider")  # type: ignore[arg-type]
    assert [one.id for one in found.questions] == ["391895"]
    assert list_faults(found) == [
        ("duplicate_key", "question '391895' came before"),
        ("malformed_row", "it has 0 answers; cider needs 1"),
        ("malformed_row", "filepath or filename is not a text"),
        ("malformed_row", "a list, not an object"),
    ]


def test_nocaps(tmp_path: Path) -> None:
    found = read_published(tmp_path, "coco_captions", "nocaps_val_4500_captions.json", "cider")
    assert found.questions == [
        Question(
            str(n),
            "",
            (ImageFile(f"0013ea208702090{n}.jpg"),),
            (f"Caption 0 of {n}.", f"Caption 1 of {n}."),
            category="near-domain",
        )
        for n in range(2)
    ]
    assert found.quarantined == []


def test_odd_rows_of_nocaps(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}, {"id": 3}, {"file_name": "4.jpg"}]
    captions = [{"image_id": n, "caption": f"c{n}"} for n in (1, 3, 9)] + [{"caption": "lost"}]
    (tmp_path / "v.json").write_text(json.dumps({"images": images, "annotations": captions}))
    found = read(tmp_path / "v.json", "coco_captions", "cider")
    assert [(one.id, one.answers) for one in found.questions] == [("1", ("c1",))]
    assert list_faults(found) == [
        ("malformed_row", "annotation 3 names no image_id"),
        ("malformed_row", "it has 0 answers; cider needs 1"),
        ("missing_image", "it has no image"),
        ("malformed_row", "an image has no id"),
        ("missing_image", "image 9 has captions, but is not listed"),
    ]
    (tmp_path / "v.json").write_text('{"images": []}')
    with pytest.raises(UsageError, match=r"v\.json can't be read: its JSON object has no member 'annotations'$"):
        read(tmp_path / "v.json", "coco_captions", "cider")


def test_textcaps_has_a_row_for_each_caption(tmp_path: Path) -> None:
    found = read_published(tmp_path, "textcaps", "TextCaps_0.1_val.json", "cider")
    assert found.questions == [
        Question("a1", "", (ImageFile("a1.jpg"),), ("A sign says Exit.", "An exit sign.")),
        Question("a2", "", (ImageFile("a2.jpg"),), ("A red bus.",)),
    ]
    found = read_rows(tmp_path, "textcaps", "v.json", [{"caption_str": "x"}, JSON["textcaps"][0]], "cider")
    assert list_faults(found) == [("malformed_row", "a caption names no image_id")]


@pytest.mark.parametrize(
    ("layout", "row"),
    [
        ("coco", {"question_id": "1", "image": STRUCTS[0], "question": "Caption it.", "answer": ["A.", "B."]}),
        ("coco_captions", {"image_id": "1", "image": STRUCTS[0], "annotations_captions": ["A.", "B."]}),
        (
            "textcaps",
            {"image_id": "1", "image": STRUCTS[0], "caption_str": ["A.", "B."]},
        ),
    ],
)
def test_parquet_as_lmms_eval_publishes_it(tmp_path: Path, layout: str, row: dict[str, object]) -> None:
    """A set of captions asks no question, though its table may have one."""
    found = read_rows(tmp_path, layout, "val.parquet", [row], "cider")
    assert found.questions == [Question("1", "", (STRUCTS[0]["bytes"],), ("A.", "B."))]


def test_nocaps_of_lmms_eval_names_its_domains(tmp_path: Path) -> None:
    row = {"image_id": 1, "image": STRUCTS[0], "annotations_captions": ["A."], "image_domain": "near-domain"}
    (one,) = read_rows(tmp_path, "coco_captions", "val.parquet", [row], "cider").questions
    assert one.category == "near-domain"


def test_a_column_of_images_without_any(tmp_path: Path) -> None:
    row = {"cocoid": 1, "filepath": "val2014", "filename": "1.jpg", "sentences": [{"raw": "A."}], "image": None}
    (one,) = read_rows(tmp_path, "coco", "test.parquet", [row], "cider").questions
    assert one.images == (ImageFile("val2014/1.jpg"),)
