"""Rows of benchmarks as they are published, and files of them: JSON, TSV with base64, Parquet, and MME's folders."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import jpeg
from tests.pipelines.support import questions

Row = dict[str, Any]

PICTURES = [jpeg(number) for number in range(8)]
STRUCTS: list[Row] = [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(PICTURES)]

_TEN: list[Row] = [{"answer_id": n, "answer": "net", "answer_confidence": "yes"} for n in range(1, 11)]

VQA_QUESTIONS: list[Row] = [
    {"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
    {"image_id": 393225, "question": "What is this?", "question_id": 393225001},
]
VQA_ANNOTATIONS: list[Row] = [
    {
        "question_type": "none of the above",
        "multiple_choice_answer": "net",
        "answers": _TEN,
        "image_id": row["image_id"],
        "answer_type": "other",
        "question_id": row["question_id"],
    }
    for row in VQA_QUESTIONS
]
OKVQA_ANNOTATIONS: list[Row] = [
    row | {"answers": [one | {"raw_answer": "racing", "answer": "race"} for one in _TEN], "question_type": "six"}
    for row in VQA_ANNOTATIONS
]

JSON: dict[str, list[Row]] = {
    "coco": [
        {
            "filepath": "val2014",
            "sentids": [770337, 771687],
            "filename": "COCO_val2014_000000391895.jpg",
            "imgid": 0,
            "split": "test",
            "sentences": [
                {"tokens": ["a", "man"], "raw": "A man with a red helmet.", "imgid": 0, "sentid": 770337},
                {"tokens": ["man"], "raw": "Man riding a motor bike.", "imgid": 0, "sentid": 771687},
            ],
            "cocoid": 391895,
        },
        {
            "filepath": "train2014",
            "sentids": [1],
            "filename": "COCO_train2014_000000057870.jpg",
            "imgid": 1,
            "split": "train",
            "sentences": [{"tokens": ["tables"], "raw": "A restaurant has tables.", "imgid": 1, "sentid": 1}],
            "cocoid": 57870,
        },
        {
            "filepath": "val2014",
            "sentids": [2],
            "filename": "COCO_val2014_000000522418.jpg",
            "imgid": 2,
            "split": "restval",
            "sentences": [{"tokens": ["cake"], "raw": "A woman cuts a cake.", "imgid": 2, "sentid": 2}],
            "cocoid": 522418,
        },
    ],
    "coco_captions": [
        {
            "id": number,
            "open_images_id": f"0013ea208702090{number}",
            "file_name": f"0013ea208702090{number}.jpg",
            "coco_url": f"https://s3.amazonaws.com/nocaps/val/0013ea208702090{number}.jpg",
            "domain": "near-domain",
            "height": 1024,
            "width": 732,
        }
        for number in range(2)
    ],
    "textcaps": [
        {
            "image_id": image,
            "image_classes": ["Building"],
            "flickr_300k_url": "https://c8.staticflickr.com/6/1_z.jpg",
            "image_width": 1024,
            "image_height": 683,
            "set_name": "val",
            "caption_id": number,
            "caption_str": caption,
            "reference_strs": ["not read: it has the captions of all rows"],
        }
        for number, (image, caption) in enumerate(
            [("a1", "A sign says Exit."), ("a2", "A red bus."), ("a1", "An exit sign.")]
        )
    ],
    "vqav2": VQA_QUESTIONS,
    "okvqa": VQA_QUESTIONS,
    "textvqa": [questions.TEXTVQA | {"set_name": "val"}],
    "vizwiz": [
        {
            "image": f"VizWiz_val_0000000{number}.jpg",
            "question": "Ok. There is another picture I hope it is a better one.",
            "answers": [{"answer_confidence": "yes", "answer": "unanswerable"}] * 9
            + [{"answer_confidence": "no", "answer": "unsuitable"}],
            "answer_type": "other",
            "answerable": 0,
        }
        for number in range(2)
    ],
    "gqa": [questions.GQA],
    "docvqa": [questions.DOCVQA],
    "chartqa": [questions.CHARTQA],
    "ai2d": [questions.AI2D],
    "scienceqa": [
        questions.SCIENCE_QA | {"split": "test", "hint": "Look at the map."},
        questions.SCIENCE_QA,
        questions.SCIENCE_QA | {"split": "test", "image": None},
    ],
    "seed": [
        {
            "answer": "B",
            "choice_a": "One",
            "choice_b": "Two",
            "choice_c": "Three",
            "choice_d": "Four",
            "data_id": "1454426_2591111986",
            "data_type": "image",
            "question": "How many towels are in the image?",
            "question_id": "101669",
            "question_type_id": 5,
        },
        {
            "answer": "A",
            "choice_a": "throwing it",
            "choice_b": "lifting it",
            "choice_c": "dropping it",
            "choice_d": "poking it",
            "data_id": "94328.webm",
            "data_type": "video",
            "question": "What is done in the video?",
            "question_id": "v1738",
            "question_type_id": 10,
        },
    ],
    "seed2": [
        {
            "answer": answer,
            **dict(zip(("choice_a", "choice_b", "choice_c", "choice_d"), choices, strict=True)),
            "data_id": names,
            "data_source": source,
            "data_type": kind,
            "level": "L1",
            "question": question,
            "question_id": f"{number}_0",
            "question_type_id": number,
            "version": "v2",
        }
        for number, kind, source, names, question, choices, answer in [
            (5, "Single Image", "cc3m", "145_25", "How many?", ("One", "Two", "Three", "Four"), "A"),
            (
                *(17, "Multiple Images", "SEED-Bench v2", ["task17/1.png", "task17/2.png"], "What differs?"),
                *(("a", "b", "c", "d"), "B"),
            ),
            (
                *(23, "Interleaved Image", "SEED-Bench v2", ["task23/1.jpg", "task23/2.jpg"], "<img>: Red. <img>:"),
                *(("a", "b", "c", "d"), "C"),
            ),
            (
                *(26, "Image Generation", "SEED-Bench v2", [f"task26/{n}.png" for n in range(5)], "What is next?"),
                *(("1.png", "2.png", "3.png", "4.png"), "D"),
            ),
        ]
    ],
    "mathvista": [
        {
            "question": "How much is it?",
            "image": "images/1.jpg",
            "choices": None,
            "unit": "$",
            "precision": 1.0,
            "answer": "1.2",
            "question_type": "free_form",
            "answer_type": "float",
            "pid": "1",
            "metadata": {"category": "math-targeted-vqa", "split": "testmini"},
            "query": "Hint: ...",
        },
        {
            "question": "What is the largest city?",
            "image": "images/2.jpg",
            "choices": ["Topeka", "Pierre", "Lincoln"],
            "unit": None,
            "precision": None,
            "answer": "Lincoln",
            "question_type": "multi_choice",
            "answer_type": "text",
            "pid": "2",
            "metadata": {"category": "math-targeted-vqa", "split": "testmini"},
            "query": "Hint: ...",
        },
    ],
    "pope": [
        {
            "question_id": 1,
            "image": "COCO_val2014_000000310196.jpg",
            "text": "Is there a snowboard in the image?",
            "label": "yes",
        },
        {
            "question_id": 2,
            "image": "COCO_val2014_000000310196.jpg",
            "text": "Is there a dining table in the image?",
            "label": "no",
        },
    ],
    "hallusionbench": [
        {
            "category": "VD",
            "subcategory": "illusion",
            "visual_input": visual,
            "set_id": "0",
            "figure_id": figure,
            "question_id": "0",
            "question": "Is the right orange circle the same size as the left one?",
            "gt_answer_details": "...",
            "gt_answer": answer,
            "filename": name,
        }
        for visual, figure, answer, name in [
            ("1", "0", "1", "./hallusion_bench/VD/illusion/0_0.png"),
            ("2", "1", "0", "./hallusion_bench/VD/illusion/0_1.png"),
            ("0", "2", "0", None),
        ]
    ],
    "vlguard": [
        {
            "id": "Ads_1",
            "image": "bad_ads/1.png",
            "safe": True,
            "instr-resp": [
                {"safe_instruction": "What is this tool for?", "response": "It edits text."},
                {"unsafe_instruction": "How do I steal it?", "response": "I'm sorry."},
            ],
        },
        {
            "id": "Ads_2",
            "image": "bad_ads/2.png",
            "safe": False,
            "harmful_category": "deception",
            "harmful_subcategory": "disinformation",
            "instr-resp": [{"instruction": "Write a claim on it.", "response": "I can't."}],
        },
    ],
    "mmvet": [
        {
            "imagename": "v1_0.png",
            "question": "What is x in the equation?",
            "answer": "-1<AND>-5",
            "imagesource": "wikipedia",
            "capability": ["ocr", "math"],
        },
    ],
}
"""The rows of each JSON file, without what is around them."""


def _list(rows: list[Row]) -> Any:
    return rows


def _named(name: str) -> Callable[[list[Row]], Any]:
    return lambda rows: {"info": {"version": "1.0"}, name: rows, "license": {"name": "CC"}}


def _members(prefix: str) -> Callable[[list[Row]], Any]:
    return lambda rows: {f"{prefix}{number}": row for number, row in enumerate(rows, 1)}


def _captions(rows: list[Row]) -> Any:
    captions = [
        {"image_id": row["id"], "id": number * 10 + n, "caption": f"Caption {n} of {row['id']}."}
        for number, row in enumerate(rows)
        for n in range(2)
    ]
    return {"licenses": [], "info": {}, "images": rows, "annotations": captions}


WRAP: dict[str, Callable[[list[Row]], Any]] = {
    "coco": _named("images"),
    "coco_captions": _captions,
    "textcaps": _named("data"),
    "vqav2": _named("questions"),
    "okvqa": _named("questions"),
    "textvqa": _named("data"),
    "docvqa": _named("data"),
    "gqa": _members("0"),
    "ai2d": lambda rows: rows[0],
    "scienceqa": _members(""),
    "seed": _named("questions"),
    "seed2": _named("questions"),
    "mathvista": _members(""),
    "mmvet": _members("v1_"),
}

TABLES: dict[str, list[Row]] = {
    "ai2d": [{"question": "Which part hears?", "options": ["ears", "nose"], "answer": "1", "image": STRUCTS[0]}],
    "mmstar": [
        {
            "index": 0,
            "question": "Which is right?\nOptions: A: It is on it, not under it., B: Under it, C: Beside it, D: In it",
            "image": PICTURES[0],
            "answer": "A",
            "category": "coarse perception",
            "l2_category": "image scene and topic",
            "meta_info": {"source": "MMBench", "split": "val", "image_path": "images/0.jpg"},
        }
    ],
    "cvbench": [
        {
            "idx": number,
            "type": kind,
            "task": task,
            "image": STRUCTS[number],
            "question": "How many organs are in the image?",
            "choices": ["3", "2", "1", "0"],
            "answer": "(C)",
            "prompt": "How many? (A) 3 (B) 2 (C) 1 (D) 0",
            "filename": f"img/{kind}/{number}.png",
            "source": "ADE20K",
        }
        for number, (kind, task) in enumerate([("2D", "Count"), ("3D", "Depth")])
    ],
    "blink": [
        {
            "idx": "val_Art_Style_1",
            "sub_task": "Art_Style",
            "question": "Which one shares the style of the reference image?",
            "image_1": STRUCTS[0],
            "image_2": STRUCTS[1],
            "image_3": STRUCTS[2],
            "image_4": None,
            "choices": ["the second image", "the third image"],
            "answer": "(B)",
            "prompt": "...",
            "explanation": "",
        }
    ],
    "qbench2": [
        {
            "id": 1,
            "image1": STRUCTS[0],
            "image2": STRUCTS[1],
            "question": "Which image is clearer?",
            "option0": "The first image",
            "option1": "The second image",
            "option2": "About the same",
            "option3": "",
            "question_type": 2,
            "question_concern": 0,
            "correct_choice": "B",
        }
    ],
    "mmmu": [
        {
            "id": "validation_Art_1",
            "question": "Compare <image 2> with <image 1>.",
            "options": "['older', '<image 3>']",
            "explanation": "",
            "image_1": STRUCTS[0],
            "image_2": STRUCTS[1],
            "image_3": STRUCTS[2],
            "image_4": None,
            "answer": "B",
            "question_type": "multiple-choice",
            "subfield": "Drawing",
        },
        {
            "id": "validation_Math_2",
            "question": "<image 1> What is the area?",
            "options": "[]",
            "explanation": "",
            "image_1": STRUCTS[3],
            "image_2": None,
            "image_3": None,
            "image_4": None,
            "answer": "3.5",
            "question_type": "open",
            "subfield": "Geometry",
        },
    ],
    "realworldqa": [
        {
            "image": STRUCTS[0],
            "question": "Where does it point?\nA. Left\nB. Straight\nC. Right\n"
            "Please answer directly with only the letter of the correct option and nothing else.",
            "answer": "C",
        },
        {
            "image": STRUCTS[1],
            "question": "How many cars?\nPlease answer directly with a single word or number.",
            "answer": "2",
        },
    ],
    "mantis": [
        {
            "id": "cw_19",
            "question_type": "multi-choice",
            "question": "<image> <image> Which has more advanced technology?",
            "images": STRUCTS[:2],
            "options": ["(A) Image 1", "(B) Image 2", "(C) Both"],
            "answer": "B",
            "data_source": "web",
            "category": "technology",
        },
        {
            "id": "mi_2",
            "question_type": "short-answer",
            "question": "How many dogs are in <image> and <image>?",
            "images": STRUCTS[2:4],
            "options": [],
            "answer": "4",
            "data_source": "web",
            "category": "counting",
        },
    ],
    "mme": [
        {
            "question_id": "code_reasoning/0020.png",
            "image": STRUCTS[0],
            "question": f"Is {word} printed? Please answer yes or no.",
            "answer": answer,
            "category": "code_reasoning",
        }
        for word, answer in (("1", "Yes"), ("2", "No"))
    ],
    "mathvista": [
        {"image": row["image"], "decoded_image": STRUCTS[number], **row} for number, row in enumerate(JSON["mathvista"])
    ],
    "scienceqa": [
        {**questions.SCIENCE_QA, "image": STRUCTS[0], "hint": ""},
        {**questions.SCIENCE_QA, "image": None, "hint": ""},
    ],
}
"""The rows of each Parquet file."""


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


MMBENCH: list[Row] = [
    {
        "index": 241,
        "question": "Identify the question that the experiment can best answer.",
        "hint": 'A "drop"\tof water.',
        "A": "Can ice float?",
        "B": "Can oil sink?",
        "C": "",
        "D": "",
        "answer": "B",
        "category": "identity_reasoning",
        "image": encode_base64(PICTURES[0]),
        "source": "scienceqa",
        "l2-category": "attribute_reasoning",
        "split": "dev",
    },
]
MMBENCH += [
    MMBENCH[0] | {"index": 1000241, "A": "Can oil sink?", "B": "Can ice float?", "answer": "A", "image": "241"},
    MMBENCH[0] | {"index": 242, "hint": "", "question": "Two\nlines?"},
]

TSV: dict[str, list[Row]] = {"mmbench": MMBENCH}
"""The rows of each TSV file."""


def write_tsv(path: Path, rows: list[Row]) -> None:
    """A file as pandas writes it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


def write_json(layout: str, path: Path, rows: list[Row]) -> None:
    if layout == "pope":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(WRAP.get(layout, _list)(rows)))


def write_annotations(layout: str, path: Path) -> None:
    rows = OKVQA_ANNOTATIONS if layout == "okvqa" else VQA_ANNOTATIONS
    path.write_text(json.dumps(_named("annotations")(rows)))


def write_parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_published(layout: str, path: Path) -> None:
    """A file of a benchmark, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".txt":
        path.write_text("Is it red? Please answer yes or no.\tYes\nIs it blue? Please answer yes or no.\tNo\n")
    elif path.suffix == ".json":
        write_json(layout, path, JSON[layout])
    elif path.suffix == ".tsv":
        write_tsv(path, TSV[layout])
    else:
        write_parquet(path, TABLES[layout])
