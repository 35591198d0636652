"""Declares sets of questions with choices, whose right answer is a letter, an index or the text of a choice."""

from collections.abc import Iterator
from typing import Any

from curation.sources.formats.json_object import read_list, read_named_objects
from curation.sources.formats.row_images import is_present
from curation.sources.instructions import ai2d, science_qa
from curation.tasks.layouts.embedded import split_choices
from curation.tasks.layouts.layout import Fields, Layout, Row
from curation.tasks.question import IMAGE_MARKER
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

_MAX_DIGITS = 18  # of an index
_CIRCLE = 1_000_000  # MMBench numbers the rotations of a question's choices 5, 1000005, 2000005, ...
_OPTIONS = 4  # of a question of SEED-Bench-2, also where they are images


def ask_mmbench(row: Row) -> Iterator[Row]:
    """Yields a question of MMBench below its hint. Rotations of its choices have the same `circle`.

    Parquet files have the text `nan` where a hint or a choice is missing.
    """
    known = {name: None if value == "nan" else value for name, value in row.items()}
    hint, question = known.get("hint"), known.get("question")
    if isinstance(hint, str) and hint.strip() and isinstance(question, str) and question.strip():
        known["question"] = f"{hint.strip()}\n{question}"
    yield {**known, "circle": find_circle(known.get("index"))}


def find_circle(index: Any) -> str | None:
    """Returns the number that a question's rotations have in common; None for a question without a number."""
    digits = to_uid(index) or ""
    return str(int(digits) % _CIRCLE) if digits.isdecimal() and len(digits) <= _MAX_DIGITS else None


def ask_science_qa(row: Row) -> Iterator[Row]:
    """Yields a question of ScienceQA above its hint, with the path of its image, as `ingest` reads it."""
    image = row.get("image")
    named = f"{row.get('split')}/{row.get('id')}/{image}" if isinstance(image, str) and image else image
    question = row.get("question")
    if isinstance(question, str):
        question = science_qa.add_hint(question, row.get("hint"))
    yield {**row, "question": question, "image": named}


def read_diagram(row: Row) -> Iterator[Row]:
    """Yields the questions of a diagram of AI2D, where `ingest` makes one conversation of them."""
    if "imageName" not in row:
        yield row  # of a table
        return
    for asked in ai2d.list_questions(row):
        yield {
            "question_id": asked.about.get("questionId"),
            "question": asked.text,
            "options": asked.about.get("answerTexts"),
            "answer": asked.about.get("correctAnswer"),
            "image": asked.image,
        }


def read_seed(row: Row) -> Iterator[Row]:
    """Yields a question of SEED-Bench. One about a video is rejected, unless the row has its frames, as in Parquet."""
    if row.get("data_type") == "video" and not is_present(row.get("image")):
        raise Rejected(Reason.UNSUPPORTED_MEDIA, "the question is about a video")
    yield row


def read_seed_2(row: Row) -> Iterator[Row]:
    """Yields a question of SEED-Bench-2, whose images are anywhere in the question and its choices.

    `<img>` marks the place of an image. Where the choices are images, `data_id` ends with them. Images of CC3M have
    names without a folder; they are in `cc3m-image`, as the publisher's archive has them.
    """
    names = row.get("data_id")
    if isinstance(names, str) and row.get("data_source") == "cc3m":
        names = f"cc3m-image/{names}"
    question = row.get("question")
    if not isinstance(question, str):
        yield row
        return
    asked = {**row, "data_id": names, "question": question.replace("<img>", IMAGE_MARKER)}
    if row.get("data_type") == "Image Generation":
        images = row["image"] if isinstance(row.get("image"), list) else names
        shown = len(images) - _OPTIONS if isinstance(images, list) else 0
        asked["question"] = IMAGE_MARKER * shown + question
        asked |= {f"choice_{letter}": IMAGE_MARKER for letter in "abcd"}
    yield asked


def read_mmstar(row: Row) -> Iterator[Row]:
    """Yields a question of MMStar. In Parquet, its choices are in its text, after `Options:`."""
    question, choices = split_choices(row.get("question"), "Options: A: ", r"(?:,|;)?\s{}: ")
    yield {**row, "question": question, "choices": choices} if choices else row


def pair_images(row: Row) -> Iterator[Row]:
    r"""Yields a question of Q-Bench2 with the names of both its images.

    In the publisher's JSONL these are only in the name of the image that shows both,
    `llvisionqa_compare_dev\00079.jpg_cat_09769.jpg.jpg`.
    """
    both = row.get("img_path")
    if not isinstance(both, str):
        yield row
        return
    name = both.replace("\\", "/").rpartition("/")[2].removesuffix(".jpg")
    yield {**row, "image": name.split("_cat_")}


SCIENCE_QA = Layout(
    "scienceqa",  # `problems.json`; rows without an image are not in ScienceQA-IMG
    Fields(id=("id", "index"), images=("image",), category=("subject", "category"), right_choice=("index", "letter")),
    items={".json": read_named_objects("id")},
    prepare=ask_science_qa,
)

SEED = Layout(
    "seed",  # `SEED-Bench.json`
    Fields(
        choice_columns=("choice_a", "choice_b", "choice_c", "choice_d"),
        images=("image", "data_id"),
        category=("question_type_id", "category"),
        split=("data_type",),
    ),
    items={".json": read_list("questions")},
    prepare=read_seed,
)

LAYOUTS = (
    Layout(
        "ai2d",  # `questions/*.json`, or a JSONL of these
        Fields(images=("image",), right_choice=("index", "letter")),
        items={".json": ai2d.read_items},
        prepare=read_diagram,
    ),
    SCIENCE_QA,
    Layout("mmbench", Fields(id=("index",), images=("image",), group=("circle",)), prepare=ask_mmbench),
    SEED,
    Layout("seed2", SEED.fields, items=SEED.items, prepare=read_seed_2),
    Layout("mmstar", Fields(images=("image",)), prepare=read_mmstar),
    Layout(
        "cvbench",
        Fields(id=("idx", "index"), images=("image", "filename"), category=("task", "category"), split=("type",)),
    ),
    Layout(
        "blink",
        Fields(
            id=("idx", "index"),
            images=("image",),
            image_columns=("image_1", "image_2", "image_3", "image_4"),
            category=("sub_task", "category"),
        ),
    ),
    Layout(
        "qbench2",
        Fields(
            choices=("candidates", "choices"),
            answers=("correct_choice", "answer"),
            choice_columns=("option0", "option1", "option2", "option3"),
            images=("image",),
            image_columns=("image1", "image2"),
            category=("question_concern", "concern"),
        ),
        prepare=pair_images,
    ),
)
