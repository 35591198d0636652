"""`shardloom demo`: the whole path with the real OCR engine, on pictures drawn on the spot."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from curation.text_error import ErrorCounts, page_errors
from pipelines.annotate import annotate
from pipelines.demo.shards import write_shards
from pipelines.output import DATA
from pipelines.recipe import AnnotateRecipe, AnnotateRun, EngineSpec, RenderRecipe, ShardRecipe
from pipelines.render import preview_record, render_set
from pipelines.shard import shard
from pipelines.stats import Totals, read_times
from pipelines.storage import Folder
from pipelines.verify import verify
from schemas.errors import ShardloomError

SHOWN = 5  # captions printed


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo has measured."""

    annotated: Totals
    rendered: Totals
    sharded: Totals
    errors: ErrorCounts
    images_per_second: float


def demo(output: str, pictures: int = 240, workers: int | None = None, seed: int = 0) -> DemoResult:
    """Draws pictures, packs them as DataComp shards, annotates, renders, shards, verifies and scores them."""
    console = Console(soft_wrap=True)
    run = AnnotateRun(workers=workers)
    images, annotations, captions, training = (f"{output}/{name}" for name in NAMES)
    started = time.monotonic()
    names = write_shards(Folder(images), pictures, per_shard=max(12, pictures // 4), seed=seed)
    console.print(f"{pictures} pictures drawn, in {len(names)} shards: {images} ({time.monotonic() - started:.1f} s)")
    annotated = annotate(annotate_recipe(images, run), annotations)
    rate = read_times(Folder(annotations)).stages["ocr"]
    images_per_second = rate["images"] / max(rate["working_seconds"], 1e-9)
    say(console, "annotated", annotated, f"{images_per_second:.1f} images/s")
    rendered = render_set(RenderRecipe(input=annotations, run=run), captions)
    say(console, "captions", rendered, f"{rendered.counts['captions']:,} captions")
    sharded = shard(
        ShardRecipe(images=[f"{images}/*.tar"], captions=captions, samples_per_shard=100, run=run), training
    )
    say(console, "training shards", sharded, f"{sharded.outputs} shards")
    for folder in (annotations, captions, training):
        if faults := verify(folder)[1]:
            raise ShardloomError(faults[0])
    console.print(f"verified: {annotations}, {captions}, {training}")
    truth = {row["uid"]: row for row in map(json.loads, Path(images, "truth.jsonl").read_text().splitlines())}
    errors = reading_errors(truth, annotations)
    console.print(f"character error rate {errors.cer:.2%}, word error rate {errors.wer:.2%}, of {errors.words:,} words")
    show_captions(console, truth, annotations)
    return DemoResult(annotated, rendered, sharded, errors, images_per_second)


NAMES = ("images", "annotations", "captions", "training")
"""The sub-folders of a demo's output."""


def annotate_recipe(images: str, run: AnnotateRun) -> AnnotateRecipe:
    """The demo's recipe: the defaults, and repeated images left out."""
    recipe = AnnotateRecipe(input=[f"{images}/*.tar"], engines={"ocr": EngineSpec(engine="rapidocr")}, run=run)
    filters = recipe.filters.model_copy(update={"repeated_images": True})
    chunk = recipe.chunk.model_copy(update={"samples": 32})  # so small a set is shared out evenly among workers
    return recipe.model_copy(update={"filters": filters, "chunk": chunk})


def say(console: Console, what: str, totals: Totals, rate: str) -> None:
    """One line on a step."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    rows = f"{totals.rows_in:,} in, {totals.rows_out:,} out, {totals.quarantined:,} quarantined"
    console.print(f"{what}: {rows}{f' ({reasons})' if reasons else ''}; {rate}")


def reading_errors(truth: dict[str, dict[str, object]], annotations: str) -> ErrorCounts:
    """What the OCR engine got wrong, over all annotated pictures with text."""
    counts = ErrorCounts()
    folder = Folder(annotations)
    for name in folder.names(DATA):
        for row in pq.read_table(folder.path(f"{DATA}/{name}"), columns=["uid", "ocr"]).to_pylist():
            known = truth[row["uid"]]["items"]
            assert isinstance(known, list)
            if known:
                found = [line["text"] for line in row["ocr"]]
                counts += page_errors([item["text"] for item in known], found)
    return counts


def show_captions(console: Console, truth: dict[str, dict[str, object]], annotations: str) -> None:
    """Prints pictures of different kinds, with every granularity."""
    shown: set[object] = set()
    for uid, row in truth.items():
        if row["fault"] or not row["items"] or row["kind"] in shown:
            continue
        shown.add(row["kind"])
        captions = preview_record(RenderRecipe(input=annotations, raw_caption="without"), uid)
        table = Table("granularity", "caption", title=f"{row['kind']} {uid}", title_justify="left")
        for caption in captions:
            table.add_row(str(caption.granularity), escape(caption.text))
        console.print(table)
        if len(shown) == SHOWN:
            return
