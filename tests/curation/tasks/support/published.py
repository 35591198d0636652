"""Files of benchmarks as they are published: JSON, TSV with base64, Parquet, and MME's folders."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.curation.tasks.support.json_rows import JSON, OKVQA_ANNOTATIONS, VQA_ANNOTATIONS, Row
from tests.curation.tasks.support.table_rows import TABLES, TSV


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
