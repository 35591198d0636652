"""Draws scenes with a line of text above them, and stands in for the models that annotate and describe them.

Lines, boxes and descriptions come from what was drawn, by the hash of an image's pixels. A share of the descriptions
has one planted error: a wrong word in the text, a wrong count, or a thing that is not there.
"""

import base64
import hashlib
import io
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation.demo_detector.scenes import draw_scene
from curation.demo_detector.vocabulary import THINGS
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES, OCR
from curation.images.decode import DecodeLimits, RgbImage, decode
from pipelines.demo.pictures import SCENE, Picture, make_true_line
from pipelines.demo.shards import SimulatedDownload, build_row, build_tar
from pipelines.demo.sheet import MEASURES, PALETTES, SHOPS, SLOGANS, TITLES, Sheet
from schemas.output_set.options import Options
from schemas.records.box import Box, Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine

LINES = (*SHOPS, *TITLES, *SLOGANS, *MEASURES)
WITHOUT_LINE = 0.2  # share of scenes
BAND = 0.2  # height of the line's band, of the scene's
NUMBERS = ("a", "two", "three", "four", "five")
SHARD = 200  # scenes
DRAWN_FILE = "drawn.json"
MODEL = "stand-in"  # of the server


@dataclass(frozen=True, slots=True)
class Scene:
    """Holds what was drawn."""

    pixels: str  # the hash of the decoded image's
    objects: tuple[tuple[str, Box], ...]
    lines: tuple[TextLine, ...]  # one, or none

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the things, one for each."""
        return tuple(label for label, _ in self.objects)

    @property
    def line(self) -> str:
        """The line of text, empty without one."""
        return self.lines[0].text if self.lines else ""


def draw(rng: random.Random) -> tuple[Picture, Scene]:
    """Draws a scene below a band with a line of text."""
    side = rng.randint(288, 384)
    drawn, line = draw_scene(rng, (side, side)), "" if rng.random() < WITHOUT_LINE else rng.choice(LINES)
    height = int(side * BAND)
    ground, _, ink, _ = rng.choice(PALETTES)
    sheet = Sheet(Image.new("RGB", (side, side + height), ground))
    sheet.image.paste(drawn.image, (0, height))
    if line:
        sheet.write(line, (side / 2, height * 0.25), height * 0.5, ink, align="m")
    jpeg = io.BytesIO()
    sheet.image.save(jpeg, "JPEG", quality=90)
    size = sheet.image.size
    objects = tuple(
        (label, (x1, (y1 * side + height) / size[1], x2, (y2 * side + height) / size[1]))
        for label, (x1, y1, x2, y2) in drawn.objects
    )
    lines = tuple(make_true_line(text, quad, size) for text, quad in sheet.lines)
    picture = Picture(jpeg.getvalue(), *size, drawn.caption, lines, SCENE, objects)
    return picture, Scene(hash_pixels(decode(picture.jpeg, DecodeLimits())), objects, lines)


def write_scenes(folder: Path, seed: int, count: int) -> dict[str, Scene]:
    """Draws scenes and writes them as image shards, whose alt texts name the things. Returns the scenes by uid."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = {}
    for shard, start in enumerate(range(0, count, SHARD)):
        rows, members = {}, []
        for index in range(start, min(start + SHARD, count)):
            picture, scene = draw(random.Random(f"{seed}/{index}"))
            key = f"{index:09d}"
            rows[key] = build_row(seed, index, key, SimulatedDownload(picture, picture.jpeg, None, None))
            members.append((key, picture.jpeg))
            scenes[rows[key]["uid"]] = scene
            (folder / f"{rows[key]['uid']}.jpg").write_bytes(picture.jpeg)
        (folder / f"{shard:08d}.tar").write_bytes(build_tar(members, rows))
    drawn = {
        scene.pixels: {"objects": scene.objects, "lines": [asdict(line) for line in scene.lines]}
        for scene in scenes.values()
    }
    (folder / DRAWN_FILE).write_text(json.dumps(drawn))
    return scenes


class DrawnSettings(Options):
    """Of the stand-ins for OCR and the detector."""

    drawn: str  # the file


class DrawnEngine:
    """Knows what was drawn, by the hash of the pixels."""

    def __init__(self, settings: DrawnSettings) -> None:
        self._drawn = json.loads(Path(settings.drawn).read_text())
        self.fingerprint = EngineFingerprint(name="drawn", version="1", weights_sha256="", settings={})

    def find(self, image: RgbImage) -> dict[str, Any]:
        """What was drawn in an image."""
        found: dict[str, Any] = self._drawn[hash_pixels(image)]
        return found


class DrawnOcr(DrawnEngine):
    """Reads every line without an error."""

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image."""
        return [[TextLine(**line) for line in self.find(image)["lines"]] for image in images]


class DrawnBoxes(DrawnEngine):
    """Finds every thing."""

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the boxes of each image, in the order of drawing."""
        return [
            [Detection(label, label, tuple(box), 1.0) for label, box in self.find(one)["objects"]] for one in images
        ]


DRAWN_OCR = EngineDeclaration(name="drawn-ocr", kind=OCR, settings=DrawnSettings, make=DrawnOcr)
DRAWN_BOXES = EngineDeclaration(name="drawn-boxes", kind=BOXES, settings=DrawnSettings, make=DrawnBoxes)


def describe(scene: Scene, rng: random.Random, error_rate: float) -> str:
    """Describes a scene, with one planted error in a share of the descriptions."""
    counts, line = Counter(scene.labels), scene.line
    kinds = ["count", "thing", *(["word"] if line else [])]
    error = rng.choice(kinds) if rng.random() < error_rate else None
    if error == "count":
        label = rng.choice(list(counts))
        counts[label] = rng.choice([number for number in range(1, 6) if number != counts[label]])
    elif error == "thing":
        counts[rng.choice([name for name in THINGS if name not in counts])] = 1
    elif error == "word":
        words = line.split()
        place = rng.randrange(len(words))
        words[place] = rng.choice([word for other in LINES for word in other.split() if word not in words])
        line = " ".join(words)
    listed = [format_count(label, number) for label, number in counts.items()]
    shown = " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]
    return f"The image shows {shown}. " + (f'The text above reads "{line}".' if line else "There is no text.")


def format_count(label: str, number: int) -> str:
    """Returns a number of things in words."""
    if number == 1:
        return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"
    return f"{NUMBERS[number - 1]} {label if label == 'fish' else f'{label}es' if label.endswith('s') else f'{label}s'}"


def hash_pixels(image: RgbImage) -> str:
    """Returns the hash by which the server knows an image."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


@contextmanager
def serve_captions(scenes: dict[str, Scene], seed: int, error_rate: float) -> Iterator[str]:
    """Runs the stand-in for an OpenAI-compatible server. Yields its URL."""
    texts = {scene.pixels: describe(scene, random.Random(f"{seed}/{uid}"), error_rate) for uid, scene in scenes.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"data": [{"id": MODEL}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            url = next(part["image_url"]["url"] for part in asked["messages"][0]["content"] if "image_url" in part)
            image = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
            choice = {"message": {"content": texts[hash_pixels(image)]}, "finish_reason": "stop"}
            self._answer({"choices": [choice], "usage": {"prompt_tokens": 0, "completion_tokens": 0}})

        def _answer(self, found: dict[str, Any]) -> None:
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
