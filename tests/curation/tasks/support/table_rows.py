"""Rows of benchmarks in Parquet and in TSV files."""

import base64

from tests.conftest import jpeg
from tests.curation.tasks.support.json_rows import JSON, Row
from tests.pipelines.support import questions

PICTURES = [jpeg(number) for number in range(8)]
STRUCTS: list[Row] = [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(PICTURES)]

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
