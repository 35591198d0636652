"""Small sets in the layouts of all the sources, over the pictures of the shards that `make_shards` writes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.ingest.run import ingest
from pipelines.output.totals import Totals
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg

ROWS = 12
ALONE = IngestRun(workers=1)


def url(number: int) -> str:
    """Where picture `number` of shard 0 is from."""
    return f"https://example.org/{number:012d}.jpg"


def picture(number: int) -> bytes:
    """Its file."""
    return jpeg(number)


def caption(row: int) -> str:
    """The caption of each row of a caption set."""
    return f"caption of {row}"


def parts(row: int) -> list[str | int]:
    """The parts of each row of a document set: two pictures of their own."""
    return [f"before {row}", 0, f"between {row}", 1, f"after {row}"]


def interleaved(row: int) -> dict[str, Any]:
    """These parts as MINT-1T HTML and OBELICS have them."""
    shown = iter((url(row), url((row + 5) % ROWS)))
    return {
        "texts": [part if isinstance(part, str) else None for part in parts(row)],
        "images": [None if isinstance(part, str) else next(shown) for part in parts(row)],
    }


def write_parquet(path: Path, rows: list[dict[str, Any]], row_group: int = 5) -> str:
    """A Parquet file of these rows; its glob."""
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group)
    return str(path)


def write_text(path: Path, text: str) -> str:
    """A text file; its glob."""
    path.write_text(text)
    return str(path)


def tiff_of(*files: bytes) -> bytes:
    """A frame for each picture, without a loss."""
    first, *others = (Image.open(io.BytesIO(file)) for file in files)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def mint_pdf(folder: Path) -> str:
    """A tar of documents, their two pictures as frames."""
    with (folder / "00000.tar").open("wb") as file:
        writer = TarWriter(file)
        for row in range(ROWS):
            key = f"{row:032x}"
            names = iter((f"page_0_image_{row}", f"page_1_image_{row}"))
            content = interleaved(row) | {"image_metadata": [{"page": page, "xref": row} for page in (0, 1)]}
            content["images"] = [None if isinstance(part, str) else next(names) for part in parts(row)]
            writer.add(f"{key}.json", json.dumps(content).encode())
            writer.add(f"{key}.tiff", tiff_of(picture(row), picture((row + 5) % ROWS)))
        writer.close()
    return str(folder / "00000.tar")


def datacomp(folder: Path) -> str:
    """Pictures with captions, as img2dataset writes them."""
    with (folder / "00000.tar").open("wb") as file:
        writer = TarWriter(file)
        for row in range(ROWS):
            writer.add(f"{row:08d}.jpg", picture(row))
            writer.add(f"{row:08d}.json", json.dumps({"url": url(row), "caption": caption(row)}).encode())
        writer.close()
    return str(folder / "00000.tar")


def visual_genome(folder: Path) -> str:
    """Region descriptions, and the pictures in two folders."""
    for row in range(ROWS):
        images = folder / ("VG_100K" if row % 2 else "VG_100K_2")
        images.mkdir(exist_ok=True)
        (images / f"{row + 1}.jpg").write_bytes(picture(row))
    box = {"x": 1, "y": 2, "width": 3, "height": 4}
    items = [
        {"id": row + 1, "regions": [{"region_id": row, "image_id": row + 1, "phrase": caption(row)} | box]}
        for row in range(ROWS)
    ]
    return write_text(folder / "region_descriptions.json", json.dumps(items))


def blip3(captions: str) -> list[dict[str, str]]:
    """Rows of a published caption layout."""
    return [{"url": url(row), "uid": f"{row:032x}", "captions": captions % caption(row)} for row in range(ROWS)]


SETS: dict[str, Callable[[Path], str]] = {
    "mint-html": lambda f: write_parquet(f / "a.parquet", [interleaved(row) for row in range(ROWS)]),
    "mint-pdf": mint_pdf,
    "mint-arxiv": mint_pdf,
    "obelics": lambda f: write_parquet(f / "a.parquet", [interleaved(row) for row in range(ROWS)]),
    "kale": lambda f: write_parquet(f / "a.parquet", [{"url": url(r), "caption": caption(r)} for r in range(ROWS)]),
    "cc3m": lambda f: write_text(f / "a.tsv", "".join(f"{caption(row)}\t{url(row)}\n" for row in range(ROWS))),
    "cc12m": lambda f: write_text(f / "a.tsv", "".join(f"{url(row)}\t{caption(row)}\n" for row in range(ROWS))),
    "sbu": lambda f: write_text(
        f / "sbu.json", json.dumps({"image_urls": [*map(url, range(ROWS))], "captions": [*map(caption, range(ROWS))]})
    ),
    "visual-genome": visual_genome,
    "datacomp": datacomp,
    "blip3-ocr": lambda f: write_parquet(
        f / "001.parquet", blip3('[{"text": "%s", "granularity": 0, "include_datacomp_raw_cap": false}]')
    ),
    "blip3-grounding": lambda f: write_parquet(f / "part_01.parquet", blip3("[['%s', 0, False]]")),
    "text": lambda f: write_text(
        f / "a.jsonl", "".join(json.dumps({"id": f"t{row}", "text": caption(row)}) + "\n" for row in range(ROWS))
    ),
}
CAPTIONS = {"kale", "cc3m", "cc12m", "sbu", "visual-genome", "datacomp", "blip3-ocr", "blip3-grounding"}
NEED_STORE = set(SETS) - {"mint-pdf", "mint-arxiv", "datacomp", "text"}


def take_in(source: str, files: str, output: Path, images: str | list[str] | None = None, **options: Any) -> Totals:
    """`shardloom ingest` in this process."""
    values = {"run": ALONE} | options
    return ingest(IngestRecipe(source=source, input=[files], images=images or [], **values), str(output))
