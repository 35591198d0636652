"""Sets of questions with choices in their published layouts."""

from pathlib import Path

import pytest

from curation.tasks.layouts.choices import find_circle
from curation.tasks.question import ImageFile, Question
from schemas.errors import UsageError
from tests.curation.tasks.support.json_rows import JSON
from tests.curation.tasks.support.published import write_json, write_tsv
from tests.curation.tasks.support.reading import list_faults, read, read_published, read_rows
from tests.curation.tasks.support.table_rows import MMBENCH, PICTURES, STRUCTS, TABLES, encode_base64

CHOICE = "multiple_choice"
NUMBERS = ("One", "Two", "Three", "Four")
STATES = ("West Virginia", "Louisiana", "Arizona")


def test_ai2d(tmp_path: Path) -> None:
    """A question about letters is about the picture that has them."""
    found = read_published(tmp_path, "ai2d", "0.json", CHOICE)
    letters = (ImageFile("abc_images/0.png"),)
    assert found.questions == [
        Question("0.png-1", "Which part hears?", (ImageFile("images/0.png"),), ("A",), ("ears", "nose")),
        Question("0.png-0", "What is A in the diagram?", letters, ("D",), ("ears", "nose", "mouth", "face")),
        Question("0.png-2", "What is B in the diagram?", letters, ("D",), ("face", "mouth", "nose", "ears")),
    ]
    found = read_published(tmp_path, "ai2d", "test.parquet", CHOICE)
    assert found.questions == [Question("0", "Which part hears?", (PICTURES[0],), ("B",), ("ears", "nose"))]


def test_odd_diagrams_of_ai2d(tmp_path: Path) -> None:
    good = JSON["ai2d"][0]
    outside = {"imageName": "2.png", "questions": {"Q": {"answerTexts": ["a"], "correctAnswer": 4}}}
    for number, row in enumerate([good, good | {"questions": {}}, outside]):
        write_json("ai2d", tmp_path / f"{number}.json", [row])
    found = read(tmp_path / "*.json", "ai2d", CHOICE)
    assert len(found.questions) == 3
    assert list_faults(found) == [
        ("malformed_row", "there is no question"),
        ("malformed_row", "the answer '4' is the index or letter of none of its 1 choices"),
    ]


def test_scienceqa(tmp_path: Path) -> None:
    found = read_published(tmp_path, "scienceqa", "problems.json", CHOICE, split=["test"])
    asked = "Which of these states is farthest north?"
    assert found.questions == [
        Question(
            "1",
            f"{asked}\nContext: Look at the map.",
            (ImageFile("test/1/image.png"),),
            ("A",),
            STATES,
            category="social science",
        )
    ]
    assert (list_faults(found), found.other_splits) == ([("missing_image", "it has no image")], 1)
    found = read_published(tmp_path, "scienceqa", "test.parquet", CHOICE)
    assert found.questions == [Question("0", asked, (PICTURES[0],), ("A",), STATES, category="social science")]
    assert list_faults(found) == [("missing_image", "it has no image")]


def test_mmbench(tmp_path: Path) -> None:
    """Rotations are one group and share an image; a field may have tabs, quotes and lines."""
    found = read_published(tmp_path, "mmbench", "MMBench_DEV_EN.tsv", "circular_choice")
    hinted = 'A "drop"\tof water.\nIdentify the question that the experiment can best answer.'
    category = "identity_reasoning"
    assert found.questions == [
        Question("241", hinted, (PICTURES[0],), ("B",), ("Can ice float?", "Can oil sink?"), "241", category),
        Question("1000241", hinted, (PICTURES[0],), ("A",), ("Can oil sink?", "Can ice float?"), "241", category),
        Question("242", "Two\nlines?", (PICTURES[0],), ("B",), ("Can ice float?", "Can oil sink?"), "242", category),
    ]
    assert found.quarantined == []


def test_mmbench_in_parquet_writes_nan_for_what_is_missing(tmp_path: Path) -> None:
    row = MMBENCH[0] | {"hint": "nan", "C": "nan", "D": "nan", "image": STRUCTS[0]}
    (one,) = read_rows(tmp_path, "mmbench", "dev.parquet", [row], "circular_choice").questions
    assert (one.text, one.choices) == (MMBENCH[0]["question"], ("Can ice float?", "Can oil sink?"))


def test_odd_rows_of_mmbench(tmp_path: Path) -> None:
    """A corrupt image, one of a row that is not there, an answer outside the options, withheld ones, and no text."""
    changes = [
        {"image": "?" * 80},
        {"image": "99"},
        {"image": ""},
        {"answer": "D"},
        {"answer": ""},
        {"question": "", "hint": ""},
        {},
    ]
    rows = [MMBENCH[0]] + [MMBENCH[0] | {"index": 1 + n} | change for n, change in enumerate(changes)]
    rows[-1]["index"] = 241
    found = read_rows(tmp_path, "mmbench", "d.tsv", rows, "circular_choice")
    assert [one.id for one in found.questions] == ["241"]
    assert list_faults(found) == [
        ("decode_error", "its image is not base64"),
        ("missing_image", "it has no image"),
        ("malformed_row", "the answer 'D' is the letter of none of its 2 choices"),
        ("malformed_row", "it has 0 answers; circular_choice needs 1"),
        ("malformed_row", "the question is empty"),
        ("duplicate_key", "question '241' came before"),
        ("missing_image", "its image is that of row 99, which has none"),
    ]


@pytest.mark.parametrize(
    ("index", "circle"),
    [
        (0, "0"),
        (1_000_000, "0"),  # the rotation of question 0
        (2_000_005.0, "5"),  # of pandas' column with gaps
        ("3000005", "5"),
        ("a", None),
        ("9" * 5000, None),
        (None, None),
        (True, None),
    ],
)
def test_rotations_of_mmbench(index: object, circle: str | None) -> None:
    assert find_circle(index) == circle


def test_rotations_of_question_0_are_one_group(tmp_path: Path) -> None:
    rows = [MMBENCH[0] | {"index": index, "image": STRUCTS[0]} for index in (0, 1_000_000, 7)]
    found = read_rows(tmp_path, "mmbench", "dev.parquet", rows, "circular_choice")
    assert [(one.id, one.group) for one in found.questions] == [("0", "0"), ("1000000", "0"), ("7", "7")]


def test_a_hint_is_no_question(tmp_path: Path) -> None:
    rows = [MMBENCH[0] | {"question": ""}, MMBENCH[0]]
    found = read_rows(tmp_path, "mmbench", "dev.tsv", rows, "circular_choice")
    assert list_faults(found) == [("malformed_row", "the question is empty")]


def test_seed(tmp_path: Path) -> None:
    found = read_published(tmp_path, "seed", "SEED-Bench.json", CHOICE)
    expected = Question(
        *("101669", "How many towels are in the image?", (ImageFile("1454426_2591111986"),), ("B",), NUMBERS),
        category="5",
    )
    assert found.questions == [expected]
    assert list_faults(found) == [("unsupported_media", "the question is about a video")]
    found = read(tmp_path / "SEED-Bench.json", "seed", CHOICE, split=["image"])
    assert (found.questions, found.quarantined, found.other_splits) == ([expected], [], 1)
    row = JSON["seed"][1] | {"image": STRUCTS[:2]}
    (frames,) = read_rows(tmp_path, "seed", "test.parquet", [row], CHOICE).questions
    assert frames.images == tuple(PICTURES[:2])


def test_seed_2(tmp_path: Path) -> None:
    found = read_published(tmp_path, "seed2", "SEED-Bench_v2_level1_2_3.json", CHOICE)
    four = ("a", "b", "c", "d")
    shown = ("<image>",) * 4
    assert found.questions == [
        Question("5_0", "How many?", (ImageFile("cc3m-image/145_25"),), ("A",), NUMBERS, category="5"),
        Question(
            *("17_0", "What differs?", (ImageFile("task17/1.png"), ImageFile("task17/2.png")), ("B",), four),
            category="17",
        ),
        Question(
            *("23_0", "<image>: Red. <image>:", (ImageFile("task23/1.jpg"), ImageFile("task23/2.jpg")), ("C",), four),
            category="23",
        ),
        Question(
            *("26_0", "<image>What is next?", tuple(ImageFile(f"task26/{n}.png") for n in range(5)), ("D",), shown),
            category="26",
        ),
    ]
    row = JSON["seed2"][2] | {"data_id": ["task23/1.jpg"]}
    with pytest.raises(UsageError, match=r"the first because the question has 2 times <image>, but 1 images$"):
        read_rows(tmp_path, "seed2", "s.json", [row], CHOICE)


def test_mmstar(tmp_path: Path) -> None:
    """Its Parquet has the choices in the question, of which one has a comma; its TSV has a column for each."""
    expected = Question(
        *("0", "Which is right?", (PICTURES[0],), ("A",)),
        ("It is on it, not under it.", "Under it", "Beside it", "In it"),
        category="coarse perception",
    )
    assert read_published(tmp_path, "mmstar", "mmstar.parquet", CHOICE).questions == [expected]
    row = {
        **{"index": 0, "question": "Which is right?", "image": encode_base64(PICTURES[0])},
        **dict(zip("ABCD", expected.choices, strict=True)),
        **{"answer": "A", "category": "coarse perception"},
    }
    assert read_rows(tmp_path, "mmstar", "MMStar.tsv", [row], CHOICE).questions == [expected]


def test_cvbench(tmp_path: Path) -> None:
    expected = Question(
        *("1", "How many organs are in the image?", (PICTURES[1],), ("C",), ("3", "2", "1", "0")), category="Depth"
    )
    found = read_published(tmp_path, "cvbench", "test.parquet", CHOICE, split=["3D"])
    assert (found.questions, found.other_splits) == ([expected], 1)


def test_blink(tmp_path: Path) -> None:
    expected = Question(
        *("val_Art_Style_1", "Which one shares the style of the reference image?", tuple(PICTURES[:3]), ("B",)),
        ("the second image", "the third image"),
        category="Art_Style",
    )
    assert read_published(tmp_path, "blink", "val.parquet", CHOICE).questions == [expected]
    hidden = TABLES["blink"][0] | {"idx": "test_Art_Style_1", "answer": "hidden"}
    found = read_rows(tmp_path, "blink", "test.parquet", [TABLES["blink"][0], hidden], CHOICE)
    assert list_faults(found) == [("malformed_row", "the answer 'hidden' is the letter of none of its 2 choices")]
    row = {
        **{"index": 1, "question": "Which?", "A": "x", "B": "y", "answer": "B", "category": "Art_Style"},
        "image": str([encode_base64(PICTURES[0]), encode_base64(PICTURES[1])]),
    }
    (one,) = read_rows(tmp_path, "blink", "BLINK.tsv", [row], CHOICE).questions
    assert (one.id, one.images, one.choices) == ("1", tuple(PICTURES[:2]), ("x", "y"))


def test_qbench_2(tmp_path: Path) -> None:
    choices = ("The first image", "The second image", "About the same")
    expected = Question("1", "Which image is clearer?", tuple(PICTURES[:2]), ("B",), choices, category="0")
    assert read_published(tmp_path, "qbench2", "dev.parquet", CHOICE).questions == [expected]
    (tmp_path / "q-bench2-a1-dev.jsonl").write_text(
        '{"type": 2, "concern": 0, "question": "How is the second?", "candidates": ["More blurry", "Clearer"],'
        ' "img_path": "llvisionqa_compare_dev\\\\00079.jpg_cat_09769.jpg.jpg", "correct_choice": "B"}\n'
    )
    found = read(tmp_path / "q-bench2-a1-dev.jsonl", "qbench2", CHOICE)
    images = (ImageFile("00079.jpg"), ImageFile("09769.jpg"))
    assert found.questions == [
        Question("0", "How is the second?", images, ("B",), ("More blurry", "Clearer"), category="0")
    ]


def test_a_tsv_of_any_benchmark(tmp_path: Path) -> None:
    """Without a layout, columns have the usual names."""
    write_tsv(tmp_path / "x.tsv", MMBENCH)
    found = read(tmp_path / "x.tsv", None, CHOICE)
    assert [(one.id, one.images, one.answers) for one in found.questions] == [
        ("241", (PICTURES[0],), ("B",)),
        ("1000241", (PICTURES[0],), ("A",)),
        ("242", (PICTURES[0],), ("B",)),
    ]
