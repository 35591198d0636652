"""TSV files with images in base64, as VLMEvalKit publishes benchmarks."""

import base64
import io
from typing import Any

import pytest

from curation.tasks.tsv_rows import read_tsv
from schemas.errors import UsageError
from schemas.records.quarantine import Rejected

IMAGE = b"an image of more than forty-eight bytes, as all images are"
TEXT = base64.b64encode(IMAGE).decode()


def read(text: str | bytes) -> list[Any]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(row) if isinstance(row, Rejected) else row for row in read_tsv(io.BytesIO(data))]


def test_fields_are_quoted_as_pandas_writes_them() -> None:
    assert read('\ufeffindex\tquestion\tA\n1\t"Two\nlines, a\ttab and a ""quote"""\t\r\n2\tÉtude\t0\n') == [
        {"index": "1", "question": 'Two\nlines, a\ttab and a "quote"', "A": None},
        {"index": "2", "question": "Étude", "A": "0"},
    ]


def test_images_and_references_to_them() -> None:
    two = f"['{TEXT}', '{TEXT}']"
    assert read(f"index\timage\timage_path\n1\t{TEXT}\ta.jpg\n1000001\t1\t\n2\t{two}\t\n3\t\t['a.jpg', 'b.jpg']\n") == [
        {"index": "1", "image": [IMAGE], "image_path": "a.jpg"},
        {"index": "1000001", "image": [IMAGE], "image_path": None},
        {"index": "2", "image": [IMAGE, IMAGE], "image_path": None},
        {"index": "3", "image": ["a.jpg", "b.jpg"], "image_path": "['a.jpg', 'b.jpg']"},
    ]


def test_odd_rows_cost_themselves_alone() -> None:
    broken = TEXT[:-1] + "!"
    rows = [f"1\t{broken}", "2", "3\t4\t5", "4\t99", f"5\t[{TEXT}", f"6\t{TEXT}", "7\t1"]
    assert read("\n".join(["index\timage", *rows])) == [
        "decode_error: its image is not base64",
        "malformed_row: it has 1 columns, not 2",
        "malformed_row: it has 3 columns, not 2",
        "missing_image: its image is that of row 99, which has none before it",
        f"malformed_row: its images are a text that is no list: {'[' + TEXT[:59]!r}",
        {"index": "6", "image": [IMAGE]},
        "missing_image: its image is that of row 1, which has none before it",
    ]


def test_text_that_is_not_utf_8_stays_bytes() -> None:
    """The row is rejected only if it is needed."""
    assert read(b"index\tquestion\tcomment\n1\tQ\t\xff\n") == [{"index": "1", "question": "Q", "comment": b"\xff"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^it has no header of several columns$"),
        ("question\n", r"^it has no header of several columns$"),
        ('index\tquestion\n1\t"Q\n2\tQ\n', r"^line 3: unexpected end of data$"),
    ],
)
def test_files_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(text)


def test_an_image_of_several_megabytes() -> None:
    """Python's reader of tables takes 128 kB by default."""
    image = bytes(3_000_000)
    (row,) = read(f"index\timage\n1\t{base64.b64encode(image).decode()}\n")
    assert row["image"] == [image]
