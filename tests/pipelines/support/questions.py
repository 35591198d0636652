"""Sets of questions about images in their published layouts: one row of each, and files of several."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.sources import SOURCES, ReadOptions
from schemas.records.document import ParsedDocument
from tests.conftest import jpeg

TEXTVQA = {
    "question": "what is the brand of this camera?",
    "image_id": "0000599864fd15b3",
    "image_classes": ["Belt", "Camera"],
    "flickr_original_url": "https://farm2.staticflickr.com/4/5_o.jpg",
    "flickr_300k_url": "https://c1.staticflickr.com/4/5_z.jpg",
    "image_width": 1024,
    "image_height": 664,
    "answers": ["nous les gosses", "dakota", "clos culombu", "dakota digital", *["Dakota"] * 5, "dakota  "],
    "question_tokens": ["what", "is", "the", "brand"],
    "question_id": 0,
    "set_name": "train",
}
VIZWIZ = {
    "image": "VizWiz_train_00000000.jpg",
    "question": "What's the name of this product?",
    "answers": [
        {"answer_confidence": "yes", "answer": answer} for answer in ["basil leaves", *["basil"] * 8, "bottle"]
    ],
    "answer_type": "other",
    "answerable": 1,
}
OCR_VQA = {
    "imageURL": "http://ecx.images-amazon.com/images/I/61Y5cOdHJbL.jpg",
    "questions": ["Who wrote this book?", "Is this a games related book?"],
    "answers": ["Sandra Boynton", "No"],
    "title": "Mom's Family Wall Calendar 2016",
    "authorName": "Sandra Boynton",
    "genre": "Calendars",
    "split": 1,
}
A_OKVQA = {
    "split": "train",
    "image_id": 299207,
    "question_id": "22MexNkBPpdZGX6sxbxVBH",
    "question": "What is the man by the bags awaiting?",
    "choices": ["skateboarder", "train", "delivery", "cab"],
    "correct_choice_idx": 3,
    "direct_answers": ["ride", "ride", "bus", "taxi", "travelling", "traffic", "taxi", "cab", "cab", "his ride"],
    "difficult_direct_answer": False,
    "rationales": ["A train would not be on the street."] * 3,
}
GQA = {
    "semantic": [{"operation": "select", "dependencies": [], "argument": "sky (2486325)"}],
    "entailed": ["02930160"],
    "equivalent": ["02930152"],
    "question": "Is the sky dark?",
    "imageId": "2354786",
    "isBalanced": True,
    "groups": {"global": None, "local": "06-sky_dark"},
    "answer": "yes",
    "semanticStr": "select: sky (2486325)->verify color: dark [0]",
    "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {}},
    "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
    "fullAnswer": "Yes, the sky is dark.",
}
DOCVQA = {
    "questionId": 337,
    "question": "what is the date mentioned in this letter?",
    "question_types": ["handwritten", "form"],
    "image": "documents/xnbl0037_1.png",
    "docId": 279,
    "ucsf_document_id": "xnbl0037",
    "ucsf_document_page_no": "1",
    "answers": ["1/8/93", "1/8/93.", "1/8/93"],
    "data_split": "train",
}
CHARTQA = {"imgname": "two_col_103562.png", "query": "Is the value of “Étude” bigger?", "label": "Yes"}
DVQA = {
    "question": "What is the label of the second bar from the left?",
    "question_type": "data",
    "template_id": "data",
    "answer": "closet",
    "image": "bar_train_00000001.png",
    "bbox_answer": [78.5, 383, 36, 18.25],
    "question_id": 7,
}
AI2D = {
    "imageName": "0.png",
    "questions": {
        "What is A in the diagram?": {
            "abcLabel": True,
            "answerTexts": ["ears", "nose", "mouth", "face"],
            "correctAnswer": 3,
            "questionId": "0.png-0",
        },
        "Which part hears?": {
            "abcLabel": False,
            "answerTexts": ["ears", "nose"],
            "correctAnswer": 0,
            "questionId": "0.png-1",
        },
        "What is B in the diagram?": {
            "abcLabel": True,
            "answerTexts": ["face", "mouth", "nose", "ears"],
            "correctAnswer": 3,
            "questionId": "0.png-2",
        },
    },
}
CLEVR = {
    "image_index": 0,
    "program": [{"inputs": [], "function": "scene", "value_inputs": []}],
    "question_index": 12,
    "image_filename": "CLEVR_train_000000.png",
    "question_family_index": 2,
    "split": "train",
    "answer": "yes",
    "question": "Are there more big green things than large purple shiny cubes?",
}
SCIENCE_QA = {
    "question": "Which of these states is farthest north?",
    "choices": ["West Virginia", "Louisiana", "Arizona"],
    "answer": 0,
    "hint": "",
    "image": "image.png",
    "task": "closed choice",
    "grade": "grade2",
    "subject": "social science",
    "lecture": "Maps have four cardinal directions.",
    "solution": "To find the answer, look at the compass rose.",
    "split": "train",
}
SHAREGPT4V = {
    "id": "000000000009",
    "image": "coco/train2017/000000000009.jpg",
    "conversations": [
        {"from": "human", "value": "What do you see happening in this image?\n<image>"},
        {"from": "gpt", "value": "In the heart of the image, a snowman ☃ stands."},
    ],
}
OPEN_ORCA = {"id": "flan.564327", "system_prompt": "You are an AI.", "question": "Why?", "response": "Because. ☃"}
ORCA_MATH = {"question": "What is 2 + 2?", "answer": "It is 4."}

ROWS: dict[str, dict[str, Any]] = {
    "textvqa": TEXTVQA,
    "vizwiz": VIZWIZ,
    "ocr-vqa": OCR_VQA,
    "a-okvqa": A_OKVQA,
    "gqa": GQA,
    "docvqa": DOCVQA,
    "chartqa": CHARTQA,
    "dvqa": DVQA,
    "ai2d": AI2D,
    "clevr": CLEVR,
    "science-qa": SCIENCE_QA,
}
"""A row of each set of questions about images, by the name of its source."""

OTHERS: dict[str, dict[str, Any]] = {"sharegpt4v": SHAREGPT4V, "open-orca": OPEN_ORCA, "orca-math": ORCA_MATH}
"""A row of a set of captions, and of those of text alone."""


def file_of(name: str, *rows: dict[str, Any]) -> Any:
    """The content of a published file with these rows."""
    if name in ("textvqa", "docvqa"):
        return {"dataset_name": name, "dataset_version": "0.5.1", "data": list(rows), "dataset_split": "train"}
    if name == "clevr":
        return {"info": {"split": "train", "license": "CC"}, "questions": list(rows)}
    if name in ("ocr-vqa", "gqa", "science-qa"):
        return {str(number): row for number, row in enumerate(rows, 1)}
    return rows[0] if name == "ai2d" else list(rows)


def make_rows(source: str, count: int) -> list[dict[str, Any]]:
    """Rows of a set that differ in their questions, ids and images."""
    row = {**ROWS, **OTHERS}[source]
    names = {
        "textvqa": ("image_id", "question_id"),
        "a-okvqa": ("image_id", "question_id"),
        "gqa": ("imageId",),
        "docvqa": ("questionId",),
        "dvqa": ("question_id",),
        "clevr": ("question_index",),
        "ai2d": ("imageName",),
        "open-orca": ("id",),
        "sharegpt4v": ("id",),
    }.get(source, ())
    changes: list[dict[str, Any]] = []
    for number in range(count):
        change: dict[str, Any] = dict.fromkeys(names, number)
        if source == "ai2d":
            change["imageName"] = f"{number}.png"
        for field in ("question", "query"):
            if field in row:
                change[field] = f"{row[field]} ({number})"
        changes.append(change)
    return [row | change for change in changes]


def write_set(source: str, path: Path, images: Path, count: int) -> None:
    """Writes a published file with `count` rows, and the images that its reader asks for below `images`."""
    rows = make_rows(source, count)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        items: list[Any] = rows
    else:
        path.write_text(json.dumps(file_of(source, *rows)))
        read = SOURCES.find(source).items
        assert read is not None
        items = list(read(io.BytesIO(path.read_bytes())))
    for number, item in enumerate(items):
        parsed = SOURCES.find(source).read(item, ReadOptions())
        assert isinstance(parsed, ParsedDocument)
        for shown in parsed.images:
            place = images / str(shown.source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(jpeg(number))
