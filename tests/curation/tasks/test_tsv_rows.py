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
    rows = [f"1\t{TEXT}\ta.jpg", "1000001\t1\t", f"2\t{two}\t", "3\t\t['a.jpg', 'b.jpg']"]
    assert read("\n".join(["index\timage\timage_path", *rows])) == [
        {"index": "1", "image": [IMAGE], "image_path": "a.jpg"},
        {"index": "1000001", "image": [IMAGE], "image_path": None},
        {"index": "2", "image": [IMAGE, IMAGE], "image_path": None},
        {"index": "3", "image": ["a.jpg", "b.jpg"], "image_path": "['a.jpg', 'b.jpg']"},
    ]


def test_a_reference_to_a_later_row() -> None:
    """Which comes last. The first of two rows with one index is the one that is meant."""
    other = base64.b64encode(b"another image of more than forty-eight bytes, as all are").decode()
    assert read(f"index\timage\n1000001\t1\n1\t{TEXT}\n1\t{other}\n2000001\t1\n") == [
        {"index": "1", "image": [IMAGE]},
        {"index": "1", "image": [base64.b64decode(other)]},
        {"index": "2000001", "image": [IMAGE]},
        {"index": "1000001", "image": [IMAGE]},
    ]


def test_names_and_addresses_of_images() -> None:
    long = f"{'folder/' * 20}1.png"
    rows = ["1\t1.jpg", f"2\t{long}", "3\thttps://a.b/c", f"4\t['1.jpg', '{TEXT}']", f"5\t{TEXT[:40]} {TEXT[40:]}"]
    assert [row["image"] for row in read("\n".join(["index\timage", *rows]))] == [
        ["1.jpg"],
        [long],
        ["https://a.b/c"],
        ["1.jpg", IMAGE],
        [IMAGE],
    ]


def test_several_answers_are_a_list() -> None:
    """As VLMEvalKit's TSV of DocVQA and TextVQA have them; a list of numbers may be the answer itself."""
    rows = ["1\t['a', 'b']", '2\t["a"]', "3\t[1, 2]", "4\t[a]", "5\tA", "6\t"]
    assert [row["answer"] for row in read("\n".join(["index\tanswer", *rows]))] == [
        ["a", "b"],
        ["a"],
        "[1, 2]",
        "[a]",
        "A",
        None,
    ]


def test_odd_rows_cost_themselves_alone() -> None:
    broken = TEXT[:-1] + "!"
    rows = [f"1\t{broken}", "2", "", "3\t4\t5", "4\t99", f"5\t[{TEXT}", f"6\t{TEXT}", "7\t1"]
    assert read("\n".join(["index\timage", *rows])) == [
        "decode_error: its image is not base64",
        "malformed_row: it has 1 columns, not 2",
        "malformed_row: it has 3 columns, not 2",
        f"malformed_row: its images are a text that is no list: {'[' + TEXT[:59]!r}",
        {"index": "6", "image": [IMAGE]},
        "missing_image: its image is that of row 99, which has none",
        "missing_image: its image is that of row 1, which has none",
    ]


def test_text_that_is_not_utf_8_stays_bytes() -> None:
    """The row is rejected only if it is needed."""
    assert read(b"index\tquestion\tcomment\n1\tQ\t\xff\n") == [{"index": "1", "question": "Q", "comment": b"\xff"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^it has no header of several columns$"),
        ("question\n", r"^it has no header of several columns$"),
        ("index\tA\tB\tA\n", r"^two of its columns have the name 'A'$"),
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
