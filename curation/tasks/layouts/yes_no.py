"""Declares sets of questions whose answer is yes or no."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curation.sources.formats.fields import decode_text, malformed_row_error
from curation.sources.formats.json_list import read_entries
from curation.sources.formats.row_images import is_present
from curation.tasks.layouts.layout import FILE, Fields, Layout, Row
from schemas.json_text import MAX_JSON, parse_object
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

_NEGATIVES = re.compile(r"random|popular|adversarial")
_ANSWERS = {"0": "no", "1": "yes"}  # of HallusionBench
_QUESTIONS_FOLDER = "questions_answers_YN"


def read_json_lines(file: BinaryIO) -> Iterator[Any]:
    """Yields the objects of a file that has one a line, as POPE's do, although they end in `.json`."""
    for line in file:
        if line.strip():
            try:
                yield parse_object(line, "the line", MAX_JSON)
            except ValueError as error:
                yield malformed_row_error(str(error))


def read_mme_lines(file: BinaryIO) -> Iterator[Any]:
    """Yields the questions of an image of MME: lines of a question, a tab and its answer."""
    for number, line in enumerate(file.read(MAX_JSON).removeprefix(BOM_UTF8).splitlines()):
        if line.strip():
            question, tab, answer = line.rstrip().rpartition(b"\t")
            if tab:
                yield {"line": number, "question": decode_text(question), "answer": decode_text(answer)}
            else:
                yield malformed_row_error(f"line {number} has no tab before its answer")


def read_pope(row: Row) -> Iterator[Row]:
    """Yields a question of POPE. Its id has the kind of its negatives, since each of the three files counts anew.

    VLMEvalKit's TSV has a question of several files once, with the category `random,popular`: it is as many questions.
    """
    found = _NEGATIVES.search(row[FILE].rpartition("/")[2])
    kinds = row.get("category") or (found[0] if found else "")
    number = next((row[name] for name in ("id", "question_id", "index") if row.get(name) is not None), None)
    for kind in kinds.split(",") if isinstance(kinds, str) else (kinds,):
        yield {**row, "category": kind, "id": None if number is None else f"{kind}/{number}"}


def read_mme(row: Row) -> Iterator[Row]:
    """Yields a question of MME. Its group is its image, about which there are two questions.

    The publisher's folders are `artwork/questions_answers_YN/10002.txt` with `artwork/images/10002.jpg`, or
    `OCR/0001.txt` with `OCR/0001.jpg`.
    """
    if "line" in row:
        file = PurePosixPath(row[FILE])
        apart = file.parent.name == _QUESTIONS_FOLDER
        category = (file.parent.parent if apart else file.parent).name
        image = f"{category}/{'images/' if apart else ''}{file.stem}.*"
        name = f"{category}/{file.stem}"
        yield {**row, "id": f"{name}/{row['line']}", "image": image, "category": category, "group": name}
        return
    group = row.get("image_path") or row.get("question_id")  # which is the image's name in Parquet
    index = row.get("index")
    yield {**row, "id": f"{group}: {row.get('question')}" if index is None else index, "group": group}


def read_hallusionbench(row: Row) -> Iterator[Row]:
    """Yields a question of HallusionBench. Its group is its set: the questions about a figure and its variants.

    Questions of which `visual_input` is 0 show no image and are of the split `non_image`.
    """
    name, image = row.get("filename"), row.get("image")
    if not is_present(image) and isinstance(name, str) and name:
        image = name.removeprefix("./")
    shows = str(row["visual_input"]) != "0" if "visual_input" in row else is_present(image)
    if shows and not is_present(image):
        raise Rejected(Reason.MISSING_IMAGE, "it has no image")
    kind = row.get("subcategory") or row.get("l2-category")
    uid = row.get("index")
    if uid is None:
        numbers = (row.get(number) for number in ("set_id", "figure_id", "question_id"))
        uid = "_".join(map(str, (row.get("category"), kind, *numbers)))
    answer = row.get("gt_answer", row.get("answer"))
    yield {
        "id": uid,
        "question": row.get("question"),
        "answer": _ANSWERS.get(to_uid(answer) or "", answer),
        "images": (image if isinstance(image, list) else [image]) if shows else [],
        "category": kind,
        "group": f"{row.get('category')}_{kind}_{_find_set(str(uid))}",
        "split": "image" if shows else "non_image",
    }


def _find_set(uid: str) -> str:
    """Returns the number of a set: the third last part of an id, before those of the figure and of the question."""
    return f"__{uid}".rsplit("_", 3)[1]


LAYOUTS = (
    Layout(
        "pope",  # `coco_pope_random.json`, `..._popular.json` and `..._adversarial.json`
        Fields(id=("id",), question=("question", "text"), answers=("label", "answer"), images=("image",)),
        items={".json": read_json_lines},
        prepare=read_pope,
    ),
    Layout("mme", Fields(id=("id",), images=("image",), group=("group",)), {".txt": read_mme_lines}, read_mme),
    Layout(
        "hallusionbench",  # `HallusionBench.json`
        Fields(id=("id",), images=("images",), group=("group",)),
        items={".json": read_entries},
        prepare=read_hallusionbench,
        needs_image=False,  # `read_hallusionbench` knows which questions do
    ),
)
