"""Sets whose answers are yes or no."""

from pathlib import Path
from typing import Any

import pytest

from curation.tasks.images import QuestionImages
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from schemas.records.quarantine import Rejected
from tests.curation.tasks.support.json_rows import JSON
from tests.curation.tasks.support.published import write_published
from tests.curation.tasks.support.reading import list_faults, read, read_published, read_rows
from tests.curation.tasks.support.table_rows import PICTURES, STRUCTS, encode_base64


def test_the_three_files_of_pope_count_their_questions_anew(tmp_path: Path) -> None:
    for kind in ("random", "adversarial"):
        write_published("pope", tmp_path / f"coco_pope_{kind}.json")
    found = read(tmp_path / "coco_pope_{random,adversarial}.json", "pope", "pope")
    image = (ImageFile("COCO_val2014_000000310196.jpg"),)
    assert found.questions == [
        Question(f"{kind}/{number}", text, image, (answer,), category=kind)
        for kind in ("adversarial", "random")
        for number, text, answer in (
            (1, "Is there a snowboard in the image?", "yes"),
            (2, "Is there a dining table in the image?", "no"),
        )
    ]
    assert found.quarantined == []


@pytest.mark.parametrize("name", ["test.parquet", "POPE.tsv"])
def test_pope_in_tables(tmp_path: Path, name: str) -> None:
    image = STRUCTS[0] if name == "test.parquet" else encode_base64(PICTURES[0])
    number = "id" if name == "test.parquet" else "index"
    rows: list[dict[str, Any]] = [
        {number: n, "question_id": 1, "question": "Is it?", "answer": "yes", "category": kind, "image": image}
        for n, kind in enumerate(["random", "popular"])
    ]
    if name == "POPE.tsv":
        rows = [{key: value for key, value in row.items() if key != "question_id"} for row in rows]
    found = read_rows(tmp_path, "pope", name, rows, "pope")
    assert found.questions == [
        Question("random/0", "Is it?", (PICTURES[0],), ("yes",), category="random"),
        Question("popular/1", "Is it?", (PICTURES[0],), ("yes",), category="popular"),
    ]


def test_odd_lines_of_pope(tmp_path: Path) -> None:
    write_published("pope", tmp_path / "pope.json")
    with (tmp_path / "pope.json").open("a") as file:
        file.write('\n{"question_id": 3\n[1]\n{"question_id": 4, "text": "Is it?", "label": "no"}\n')
    found = read(tmp_path / "pope.json", "pope", "pope")
    assert [one.id for one in found.questions] == ["/1", "/2"]
    assert [reason for reason, _ in list_faults(found)] == ["malformed_row", "malformed_row", "missing_image"]


def test_both_folders_of_mme(tmp_path: Path) -> None:
    """One has images apart, one beside the questions; neither says how an image's name ends."""
    names = ("artwork/questions_answers_YN/10002.txt", "OCR/0001.txt")
    for name in names:
        write_published("mme", tmp_path / name)
    (tmp_path / "artwork/images").mkdir()
    (tmp_path / "artwork/images/10002.png").write_bytes(b"png")
    (tmp_path / "OCR/0001.jpg").write_bytes(b"jpg")
    path = tmp_path / "{*,*/questions_answers_YN}/*.txt"
    found = read(path, "mme", "mme")
    assert found.questions == [
        Question(
            f"{group}/{line}",
            f"Is it {colour}? Please answer yes or no.",
            (ImageFile(image),),
            (answer,),
            group=group,
            category=category,
        )
        for group, image, category in (
            ("OCR/0001", "OCR/0001.*", "OCR"),
            ("artwork/10002", "artwork/images/10002.*", "artwork"),
        )
        for line, colour, answer in ((0, "red", "Yes"), (1, "blue", "No"))
    ]
    images = QuestionImages(QuestionSetOptions(path=str(path), layout="mme", images=str(tmp_path)))
    assert [images.read(one.images[0]) for one in found.questions[::2]] == [b"jpg", b"png"]
    with pytest.raises(Rejected, match=r"lost_image: .*OCR/2\.\*"):
        images.read(ImageFile("OCR/2.*"))
    with pytest.raises(Rejected, match=r"\.\./x\.\* is no path inside"):
        images.read(ImageFile("../x.*"))


def test_odd_lines_of_mme(tmp_path: Path) -> None:
    write_published("mme", tmp_path / "OCR" / "1.txt")
    with (tmp_path / "OCR" / "1.txt").open("ab") as file:
        file.write(b"\nIs it there? Yes\n\tNo\nIs it \xff?\tYes\n")
    found = read(tmp_path / "OCR" / "*.txt", "mme", "mme")
    assert [one.id for one in found.questions] == ["OCR/1/0", "OCR/1/1"]
    assert list_faults(found) == [
        ("malformed_row", "line 3 has no tab before its answer"),
        ("malformed_row", "the question is empty"),
        ("malformed_row", "the question is not UTF-8: invalid start byte at byte 6"),
    ]


def test_mme_in_tables(tmp_path: Path) -> None:
    """Both questions of an image have one id in Parquet, and are one group."""
    found = read_published(tmp_path, "mme", "test.parquet", "mme")
    name = "code_reasoning/0020.png"
    texts = [f"Is {n} printed? Please answer yes or no." for n in (1, 2)]
    assert found.questions == [
        Question(f"{name}: {text}", text, (PICTURES[0],), (answer,), group=name, category="code_reasoning")
        for text, answer in zip(texts, ("Yes", "No"), strict=True)
    ]
    row = {"index": 7, "category": "OCR", "question": "Is it?", "answer": "No", "image_path": "OCR/1.jpg"}
    found = read_rows(tmp_path, "mme", "MME.tsv", [row | {"image": encode_base64(PICTURES[0])}], "mme")
    assert found.questions == [Question("7", "Is it?", (PICTURES[0],), ("No",), group="OCR/1.jpg", category="OCR")]


def test_hallusionbench(tmp_path: Path) -> None:
    found = read_published(tmp_path, "hallusionbench", "HallusionBench.json", "hallusion_rule")
    text = "Is the right orange circle the same size as the left one?"
    folder = "hallusion_bench/VD/illusion"
    assert found.questions == [
        Question(f"VD_illusion_0_{figure}_0", text, images, (answer,), group="VD_illusion_0", category="illusion")
        for figure, images, answer in [
            (0, (ImageFile(f"{folder}/0_0.png"),), "yes"),
            (1, (ImageFile(f"{folder}/0_1.png"),), "no"),
            (2, (), "no"),
        ]
    ]
    found = read(tmp_path / "HallusionBench.json", "hallusionbench", "hallusion_rule", split=["image"])
    assert (len(found.questions), found.other_splits) == (2, 1)


def test_hallusionbench_in_tables_and_odd_rows(tmp_path: Path) -> None:
    row = {"index": "VS_chart_1_0_2", "category": "VS", "l2-category": "chart", "question": "Q?", "answer": "Yes"}
    (one,) = read_rows(
        tmp_path, "hallusionbench", "H.tsv", [row | {"image": encode_base64(PICTURES[0])}], "hallusion_rule"
    ).questions
    assert one == Question("VS_chart_1_0_2", "Q?", (PICTURES[0],), ("Yes",), group="VS_chart_1", category="chart")
    lost = JSON["hallusionbench"][0] | {"filename": None}
    with pytest.raises(UsageError, match=r"the first because it has no image$"):
        read_rows(tmp_path, "hallusionbench", "H.json", [lost], "hallusion_rule")


def test_a_byte_order_mark_is_no_part_of_a_question(tmp_path: Path) -> None:
    (tmp_path / "OCR").mkdir()
    (tmp_path / "OCR" / "1.txt").write_bytes(b"\xef\xbb\xbfIs it red?\tYes\r\nIs it blue?\tNo\r\n")
    found = read(tmp_path / "OCR" / "*.txt", "mme", "mme")
    assert [(one.text, one.answers) for one in found.questions] == [("Is it red?", ("Yes",)), ("Is it blue?", ("No",))]


def test_answers_that_are_neither_yes_nor_no(tmp_path: Path) -> None:
    rows = [JSON["hallusionbench"][0] | {"gt_answer": answer, "set_id": answer} for answer in ("1", "2")]
    found = read_rows(tmp_path, "hallusionbench", "H.json", rows, "hallusion_rule")
    assert [one.answers for one in found.questions] == [("yes",)]
    assert list_faults(found) == [("malformed_row", "the answer '2' is neither yes nor no")]


def test_a_question_of_several_files_of_pope(tmp_path: Path) -> None:
    """VLMEvalKit's TSV has it once."""
    row = {"index": 3, "question": "Is it?", "answer": "Yes", "category": "popular,adversarial", "image": "1.jpg"}
    found = read_rows(tmp_path, "pope", "POPE.tsv", [row], "pope")
    assert [(one.id, one.category) for one in found.questions] == [
        ("popular/3", "popular"),
        ("adversarial/3", "adversarial"),
    ]


def test_a_set_of_hallusionbench_is_one_group(tmp_path: Path) -> None:
    """Whatever an index has before the numbers of set, figure and question."""
    row = {"category": "VS", "l2-category": "map", "question": "Q?", "answer": "Yes", "image": "1.jpg"}
    rows = [row | {"index": index} for index in ("VS_map_1_7_0_2", "VS_map_2_7_1_2", "VS_map_1_8_0_2", "x")]
    found = read_rows(tmp_path, "hallusionbench", "H.tsv", rows, "hallusion_rule")
    assert [one.group for one in found.questions] == ["VS_map_7", "VS_map_7", "VS_map_8", "VS_map_"]
