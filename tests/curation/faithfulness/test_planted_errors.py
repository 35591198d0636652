"""Errors that another program plants in true captions are found, and true captions are not accused."""

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation.demo_detector.scenes import draw_scene
from curation.demo_detector.vocabulary import LABELS
from curation.faithfulness.check import check_caption
from curation.faithfulness.claims import Claim, Status
from curation.faithfulness.evidence import Evidence, FoundBox
from pipelines.demo.layouts import LAYOUTS
from tests.curation.faithfulness.planted import Picture, join_statements, plant, write_caption

KINDS = ("word", "count", "thing")
NAMES = {
    **{"aeroplane": "airplane", "diningtable": "dining table", "pottedplant": "potted plant", "sofa": "couch"},
    **{"tvmonitor": "television", "RBC": "red blood cell", "WBC": "white blood cell", "Platelets": "platelet"},
}


def evidence_of(picture: Picture) -> Evidence:
    boxes = tuple(FoundBox(name, name) for name in picture.things.elements())
    return Evidence(picture.lines, boxes if picture.asked else None, frozenset(picture.asked))


def draw_pictures() -> list[Picture]:
    """Scenes of things, and sheets with text."""
    pictures = []
    for number in range(150):
        rng = random.Random(f"faithfulness/{number}")
        things = Counter(label for label, _ in draw_scene(rng, (48, 48), count=rng.randint(2, 6)).objects)
        pictures.append(Picture((), things, LABELS))
    for number in range(40):
        rng = random.Random(f"faithfulness/text/{number}")
        layout, least, _ = LAYOUTS[rng.choice(("poster", "sign", "receipt", "card"))]
        pictures.append(Picture(tuple(text for text, _ in layout(rng, (least, least)).lines)))
    return pictures


def read_pictures(data: Path) -> list[Picture]:
    """The pictures of the ground truth that the task's data have."""
    truth = {name: (data / f"ground_truth/{name}.jsonl").read_text().splitlines() for name in ("det", "ocr")}
    pictures = []
    for entry in map(json.loads, truth["det"]):
        if "objects" in entry:
            things = Counter(NAMES.get(each["label"], each["label"]) for each in entry["objects"])
            asked = {NAMES.get(name, name) for name in entry["exhaustive_for"]} | set(things)
            pictures.append(Picture(None, things, tuple(sorted(asked))))
    for entry in map(json.loads, truth["ocr"]):
        if not entry.get("boxes_only"):
            pictures.append(Picture(tuple(each["text"] for each in entry["items"] if each["text"])))
    return pictures


@dataclass
class Found:
    """What the checker says of captions with 100 planted errors of each kind."""

    recall: dict[str, int]
    wrong: int  # alarms about other sentences

    @property
    def precision(self) -> float:
        return sum(self.recall.values()) / (sum(self.recall.values()) + self.wrong)


def list_contradictions(caption: str, picture: Picture) -> list[Claim]:
    return [claim for claim in check_caption(caption, evidence_of(picture)) if claim.status is Status.CONTRADICTED]


def check_planted(pictures: list[Picture], seed: str) -> Found:
    rng = random.Random(seed)
    words = sorted({word for picture in pictures for line in picture.lines or () for word in line.split()})
    words = [word for word in words if word.isascii() and word.isalpha() and len(word) > 2]
    found = Found({}, 0)
    for kind in KINDS:
        planted = caught = 0
        while planted < 100:
            picture = rng.choice(pictures)
            made = plant(rng, picture, write_caption(rng, picture), kind, words)
            if made is None:
                continue
            planted += 1
            caption, (start, end) = made
            alarms = [start <= claim.start and claim.end <= end for claim in list_contradictions(caption, picture)]
            caught += any(alarms)
            found.wrong += alarms.count(False)
        found.recall[kind] = caught
    return found


def count_false_alarms(pictures: list[Picture], captions: int, seed: str) -> int:
    """How many of so many true captions are contradicted."""
    rng = random.Random(seed)
    told = [picture for picture in pictures if picture.things or picture.lines]
    chosen = [told[number % len(told)] for number in range(captions)]
    return sum(bool(list_contradictions(join_statements(write_caption(rng, each)), each)) for each in chosen)


@pytest.fixture(scope="module")
def drawn() -> list[Picture]:
    return draw_pictures()


@pytest.fixture(scope="module")
def real(data: Path) -> list[Picture]:
    return read_pictures(data)


def test_errors_in_captions_of_drawn_pictures_are_found(drawn: list[Picture]) -> None:
    found = check_planted(drawn, "drawn")
    assert found.precision >= 0.9
    assert (found.recall, found.wrong) == ({"word": 99, "count": 99, "thing": 100}, 0)


def test_true_captions_of_drawn_pictures_are_not_accused(drawn: list[Picture]) -> None:
    assert count_false_alarms(drawn, 200, "true") == 0


def test_errors_in_captions_of_real_pictures_are_found(real: list[Picture]) -> None:
    found = check_planted(real, "real")
    assert found.precision >= 0.9
    assert (found.recall, found.wrong) == ({"word": 100, "count": 90, "thing": 100}, 0)


def test_true_captions_of_real_pictures_are_not_accused(real: list[Picture]) -> None:
    assert count_false_alarms(real, 200, "true") <= 0.05 * 200
    assert count_false_alarms(real, 200, "true") == 0
