"""Draws what an annotation set says of its pictures, beside the captions: `python -m pipelines.demo.figure --help`.

The README's picture is drawn by it: `docs/picture.png`, of two pictures that `shardloom demo` makes.
"""

import io
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image, ImageDraw

from pipelines.demo.sheet import load_font
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import preview_record
from schemas.errors import ShardloomError, UsageError
from schemas.log import LOG
from schemas.output_set.layout import DATA
from schemas.storage.parquet import read_table
from schemas.tar.reader import TarReader, TarSample

SIDE = 460  # pixels of the longer side of a picture
TEXT_WIDTH = 700  # pixels of the captions beside it
CHARACTERS = 94  # of a line of them
TEXT, LINE = 15, 20  # pixels of a letter, and from line to line
MARGIN = 24
LINE_INK, BOX_INK, INK, PALE = "#d1242f", "#0969da", "#1f2328", "#57606a"
SHOWN = (0, 1, 4)  # granularities: without places, in words, as coordinates


def draw_figure(demo: Path, keys: list[str]) -> Image.Image:
    """Returns the pictures with these keys, their lines of text and boxes drawn in, one below the other."""
    panels = [draw_panel(demo, key) for key in keys]
    sheet = Image.new("RGB", (max(one.width for one in panels), sum(one.height for one in panels)), "white")
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height
    return sheet


def draw_panel(demo: Path, key: str) -> Image.Image:
    """Returns one picture with what was found in it, and its captions on the right."""
    row, sample = find_row(demo / "annotations", key), find_sample(demo / "images", key)
    picture = Image.open(io.BytesIO(sample.members["jpg"].data)).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    draw_annotations(picture, row)
    families = [family for family, column in (("ocr", "ocr"), ("grounding", "boxes")) if row.get(column)]
    lines = caption_lines(demo, key, families)
    panel = Image.new(
        "RGB", (SIDE + TEXT_WIDTH + 3 * MARGIN, max(picture.height, LINE * len(lines)) + 2 * MARGIN), "white"
    )
    panel.paste(picture, (MARGIN, MARGIN))
    pen = ImageDraw.Draw(panel)
    for number, (line, ink) in enumerate(lines):
        pen.text((SIDE + 2 * MARGIN, MARGIN + LINE * number), line, ink, load_font(TEXT))
    return panel


def draw_annotations(picture: Image.Image, row: dict[str, Any]) -> None:
    """Draws the outlines of lines of text and the boxes of things, each box with its name."""
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    for line in row.get("ocr") or ():
        xs, ys = line["polygon"][::2], line["polygon"][1::2]
        pen.polygon([(x * width, y * height) for x, y in zip(xs, ys, strict=True)], outline=LINE_INK, width=2)
    for box in row.get("boxes") or ():
        corners = (box["x1"] * width, box["y1"] * height, box["x2"] * width, box["y2"] * height)
        pen.rectangle(corners, outline=BOX_INK, width=2)
        pen.text(
            (corners[0] + 4, corners[1] + 2),
            box["label"],
            BOX_INK,
            load_font(TEXT),
            stroke_width=2,
            stroke_fill="white",
        )


def caption_lines(demo: Path, key: str, families: list[str]) -> list[tuple[str, str]]:
    """Returns the captions of these families, wrapped, each line with its colour."""
    lines: list[tuple[str, str]] = []
    for family in families:
        recipe = RenderRecipe(family=family, input=str(demo / "annotations"))
        for caption in preview_record(recipe, key):
            if caption.granularity in SHOWN and caption.include_datacomp_raw_cap == (family == "grounding"):
                lines.append((f"{family}, granularity {caption.granularity}", PALE))
                lines += [(line, INK) for line in textwrap.wrap(caption.text, CHARACTERS)]
    return lines


def find_row(annotations: Path, key: str) -> dict[str, Any]:
    """Returns the annotations of a picture. Raises `UsageError` when there are none."""
    for path in sorted((annotations / DATA).glob("*.parquet")):
        for row in read_table(path).to_pylist():
            if row["key"] == key:
                return row  # type: ignore[no-any-return]
    raise UsageError(f"{annotations} has no annotation with the key {key!r}")


def find_sample(images: Path, key: str) -> TarSample:
    """Returns the sample of a picture. Raises `UsageError` when there is none."""
    for path in sorted(images.glob("*.tar")):
        with path.open("rb") as file:
            for sample in TarReader(file):
                if sample.key == key:
                    return sample
    raise UsageError(f"{images} has no sample with the key {key!r}")


def main(
    demo: Annotated[Path, typer.Argument(help="the folder that `shardloom demo` has made")],
    target: Annotated[Path, typer.Argument(help="the PNG to write")],
    key: Annotated[list[str], typer.Option(help="of a picture; may be repeated")],
) -> None:
    """Draw the annotations and captions of pictures."""
    try:
        draw_figure(demo, key).quantize().save(target, optimize=True)
    except ShardloomError as error:
        LOG.error(f"error: {error}")
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(main)
