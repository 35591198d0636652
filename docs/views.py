"""Draws the pictures of `docs/views/`: real pages of `shardloom view`, as a browser shows them.

`shardloom demo` and then `python -m docs.views demo-output`, with a Chromium in the PATH or in SHARDLOOM_CHROMIUM. All
that is seen was drawn, read and trained by the demo.
"""

import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from docs.browser import Tab, find_chromium, open_tab
from pipelines.cli.app import main as shardloom
from pipelines.view.options import ViewOptions
from pipelines.view.run import write_view
from schemas.errors import ShardloomError, UsageError
from schemas.log import LOG

FOLDER = Path(__file__).parent / "views"
QUALITY = 70  # of WebP: text stays sharp, and no picture reaches 100 kB
EVERYTHING = ((1280, "light"), (1280, "dark"), (400, "light"), (400, "dark"))
SOME = ((1280, "light"), (400, "dark"))
HEIGHTS = {1280: 860, 400: 800}  # pixels of a picture, by its width
QUESTIONS = 40  # of the evaluation: it takes seconds, and has answers of both kinds


@dataclass(frozen=True, slots=True)
class View:
    """Describes a page, and where a picture of it is taken: at an element that is pointed at, or at its top."""

    name: str
    folder: str  # inside the demo's
    options: ViewOptions
    at: str = ""
    looks: tuple[tuple[int, str], ...] = SOME


def list_views(demo: Path) -> list[View]:
    """Returns the views that `docs/` shows."""
    shown = ViewOptions(key="00000002/000000020005")  # a stop sign, a clock and a car
    truth = ViewOptions(key="00000002/000000020050", truth=str(demo / "images/truth.jsonl"))  # of which one is missed
    return [
        View("annotations", "annotations", shown, at=".card polygon.layer-boxes", looks=EVERYTHING),
        View("truth", "annotations", truth, at=".card polygon.missed", looks=EVERYTHING),
        View("documents", "training/documents", ViewOptions(sample=12)),
        View("mixture", "mixed", ViewOptions(sample=12)),
        View("run", "model", ViewOptions()),
        View("evaluation", "evaluation", ViewOptions(sample=12)),
    ]


def evaluate(demo: Path, output: Path) -> None:
    """Lets the demo's model write the captions of training pictures, which it has learnt badly, and scores them."""
    shard = next(iter(sorted((demo / "training/ocr/data").glob("*.tar"))))
    task = {"questions": {"path": str(shard.resolve())}, "metric": "anls", "max_new_tokens": 60, "limit": QUESTIONS}
    path = output.parent / "captions.json"
    path.write_text(json.dumps(task))  # which is YAML too
    try:
        shardloom(["evaluate", "model", str(demo / "model"), "--task", str(path), "--output", str(output)])
    except SystemExit as done:
        if done.code:
            raise UsageError(f"{demo}: its model can't be evaluated") from None


def draw(tab: Tab, view: View, page: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the pictures of a page with their names."""
    for width, scheme in view.looks:
        tab.open(page, width, HEIGHTS[width], scheme)
        if view.at:
            tab.point_at(view.at)
        file = io.BytesIO()
        Image.open(io.BytesIO(tab.take_picture())).convert("RGB").save(file, "WEBP", quality=QUALITY, method=6)
        yield f"{view.name}-{width}-{scheme}.webp", file.getvalue()


def main(
    demo: Annotated[Path, typer.Argument(help="the folder that `shardloom demo` has made")],
    target: Annotated[Path, typer.Option(help="the folder of the pictures")] = FOLDER,
) -> None:
    """Draw the pictures of the views in docs/."""
    try:
        program = find_chromium()
        if program is None:
            raise UsageError("there is no Chromium: install one, or name it in SHARDLOOM_CHROMIUM")
        target.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, open_tab(program) as tab:
            evaluation = demo / "evaluation"
            if not evaluation.exists():
                evaluate(demo, evaluation)
            for view in list_views(demo):
                page = Path(scratch, f"{view.name}.html")
                folder = evaluation if view.name == "evaluation" else demo / view.folder
                write_view(str(folder), str(page), view.options)
                for name, data in draw(tab, view, page):
                    (target / name).write_bytes(data)
                    LOG.info(f"{target / name}: {len(data):,} bytes")
    except ShardloomError as error:
        LOG.error(f"error: {error}")
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(main)
