"""Declares sets that have questions both with choices and with open answers."""

from collections.abc import Iterator
from typing import Any

from curation.scores.answers.choice import LETTERS
from curation.sources.formats.json_object import read_named_objects
from curation.sources.formats.row_images import is_present
from curation.tasks.layouts.embedded import place_numbered_images, split_choices, strip_letters
from curation.tasks.layouts.layout import Fields, Layout, Row
from curation.tasks.written_lists import parse_texts

_IMAGES = 7  # columns of MMMU: image_1, ...
_COLUMNS = ("question", "options", *LETTERS)  # that show images, in the order of a prompt


def place_mmmu_images(row: Row) -> Iterator[Row]:
    """Yields a question of MMMU with its images where its text and its options mark them, `<image 1>`."""
    images: list[Any] = [row.get(f"image_{number}") for number in range(1, _IMAGES + 1)]
    if not any(map(is_present, images)):
        held = row.get("image")
        images = held if isinstance(held, list) else [held]
    answer = row.get("answer")
    if isinstance(answer, str):  # several right ones are a text, `['24/7', '3.429']`
        row = {**row, "answer": parse_texts(answer) or answer}
    yield place_numbered_images(row, _COLUMNS, [image if is_present(image) else None for image in images])


def ask_mathvista(row: Row) -> Iterator[Row]:
    """Yields a question of MathVista with the unit of its answer, as the publisher asks it."""
    asked = dict(row)
    unit, image = row.get("unit"), row.get("decoded_image")
    if isinstance(unit, str) and unit and isinstance(row.get("question"), str):
        asked["question"] = f"{row['question']} (Unit: {unit})"
    if is_present(image):
        asked["image"] = image
    yield asked


def ask_realworldqa(row: Row) -> Iterator[Row]:
    """Yields a question of RealWorldQA, whose text has its choices and how to answer.

    The last line asks for a letter, a word or a number. It is left out, since a task's prompt says that.
    """
    question, choices = split_choices(row.get("question"), "\nA. ", r"\n{}\. ")
    if choices:
        yield {**row, "question": question, "choices": choices}
    elif isinstance(question, str):
        yield {**row, "question": question.partition("\nPlease answer directly")[0]}
    else:
        yield row


def read_mantis(row: Row) -> Iterator[Row]:
    """Yields a question of Mantis-Eval, whose options begin with their letters; a short answer has none."""
    yield {**row, "options": strip_letters(row.get("options"))}


LAYOUTS = (
    Layout(
        "mmmu",
        Fields(id=("id", "index"), images=("images",), category=("subfield", "category"), right_choice=("letter",)),
        prepare=place_mmmu_images,
    ),
    Layout(
        "mathvista",  # `testmini.json`
        Fields(id=("pid", "index"), images=("image",), category=("answer_type",), right_choice=("text",)),
        items={".json": read_named_objects("pid")},
        prepare=ask_mathvista,
    ),
    Layout("realworldqa", Fields(images=("image", "image_path")), prepare=ask_realworldqa),
    Layout("mantis", Fields(id=("id",), images=("images", "image")), prepare=read_mantis),
)
