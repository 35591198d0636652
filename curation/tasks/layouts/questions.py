"""Declares sets of open questions, whose answers are a word or two.

Sets that `ingest` reads too share the names of their fields and the reader of their files with its source.
"""

import re
from collections.abc import Iterator

from curation.sources.formats.image_questions import QuestionFields
from curation.sources.formats.row_images import is_present
from curation.sources.instructions import chartqa, docvqa, gqa, okvqa, textvqa, vizwiz, vqav2
from curation.sources.reader import SourceReader
from curation.tasks.layouts.layout import FILE, Fields, Items, Layout, Row
from schemas.records.uid import to_uid

_SPLIT = re.compile(r"(?:train|val|test)20\d\d")


def name_coco_image(row: Row) -> Iterator[Row]:
    """Yields a question of VQAv2 or OK-VQA with the name of its image, `COCO_val2014_000000262148.jpg`.

    The split of COCO is in the file's name, as in `v2_OpenEnded_mscoco_val2014_questions.json`; without one the image
    has the name that it has in COCO 2017, `000000262148.jpg`.
    """
    number = to_uid(row.get("image_id"))
    if is_present(row.get("image")) or number is None:
        yield row
        return
    found = _SPLIT.search(row[FILE].rpartition("/")[2])
    yield {**row, "image": f"{f'COCO_{found[0]}_' if found else ''}{number:0>12}.jpg"}


def take_raw_answers(row: Row) -> Iterator[Row]:
    """Yields a question of OK-VQA with its answers as people gave them: `answer` has them stemmed (`race` of racing).

    Predictions are compared with words, not with stems, so a plural is another answer than its singular.
    """
    for named in name_coco_image(row):
        answers = named.get("answers")
        if isinstance(answers, list):
            raw = [one.get("raw_answer") or one.get("answer") if isinstance(one, dict) else one for one in answers]
            named = {**named, "answers": raw}
        yield named


def share_items(source: SourceReader) -> dict[str, Items]:
    """Returns the reader of the JSON files of a set that `ingest` reads."""
    assert source.items is not None
    return {".json": source.items}


def share_source(name: str, source: SourceReader, fields: QuestionFields, *questions: str) -> Layout:
    """Returns the layout of a set that `ingest` reads by `fields`; `questions` are other names of its columns."""
    return Layout(
        name,
        Fields(
            id=(*([fields.uid] if fields.uid else []), *Fields().id),
            question=(fields.question, *questions),
            answers=(fields.answer, "answer"),
            images=("image", fields.image),
            image_name="{}" + fields.ending,
            category=("category", "type"),
        ),
        items=share_items(source),
    )


VQAV2 = Layout(
    "vqav2",
    Fields(category=("answer_type",)),
    items=share_items(vqav2.SOURCE),
    prepare=name_coco_image,
    has_annotations=True,
)
OKVQA = Layout(
    "okvqa",
    Fields(category=()),
    items=share_items(okvqa.SOURCE),
    prepare=take_raw_answers,
    has_annotations=True,
)

VIZWIZ = Layout(
    "vizwiz",  # `val.json`, whose questions have no id but their image's name
    Fields(
        id=("question_id", "index", vizwiz.FIELDS.image),
        images=(vizwiz.FIELDS.image,),
        category=("answer_type", "category"),
    ),
    items=share_items(vizwiz.SOURCE),
)

LAYOUTS = (
    VQAV2,
    OKVQA,
    share_source("textvqa", textvqa.SOURCE, textvqa.FIELDS),
    VIZWIZ,
    share_source("gqa", gqa.SOURCE, gqa.FIELDS),
    share_source("docvqa", docvqa.SOURCE, docvqa.FIELDS),
    share_source("chartqa", chartqa.SOURCE, chartqa.FIELDS, "question"),
)
