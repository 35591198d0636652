"""Runs the demo: every step of Shardloom with real engines, on generated pictures."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from curation.demo_detector.vocabulary import LABELS
from curation.scores.boxes import BoxScores
from curation.scores.text import TextScores
from pipelines.annotate.run import annotate
from pipelines.demo.documents import DOCUMENTS_FILE, URL_MAP_FILE, write_documents
from pipelines.demo.shards import write_shards
from pipelines.demo.training import DemoTraining, print_training, train_model
from pipelines.evaluate.run import evaluate_boxes, evaluate_ocr
from pipelines.ingest.run import ingest
from pipelines.mix.run import mix
from pipelines.output.totals import Totals, read_times
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, EngineOptions
from pipelines.recipes.base import RunOptions, load_recipe
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.render.run import preview_record, render_set
from pipelines.shard.run import shard
from pipelines.stats.run import collect_stats
from pipelines.terminal.tables import make_cell, print_mixture
from pipelines.verify.run import verify
from schemas.errors import ShardloomError
from schemas.output_set.layout import REPORT
from schemas.records.caption import Caption
from schemas.storage.folder import Folder
from schemas.terminal import print_result

CAPTIONS_PER_FAMILY = 3  # pictures whose captions are printed, per family
PICTURES_PER_DOCUMENT = 8  # pictures in the shards for each interleaved document
MIXTURE_RECIPE = Path(__file__).parents[2] / "recipes/demo.yaml"
VOCABULARY_FILE = "words.txt"  # vocabulary of the demo's detector, beside the images
VIEWED = ("annotations", "training/documents", "mixed", "model")  # folders whose reports the demo ends by naming


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Holds the results and measurements of a demo."""

    annotated: Totals
    rendered: dict[str, Totals]  # by caption family
    sharded: dict[str, Totals]
    ingested: Totals
    mixed: Totals
    texts: TextScores
    boxes: BoxScores
    images_per_second: float
    trained: DemoTraining


def run_demo(
    output: str, pictures: int = 240, workers: int | None = None, seed: int = 0, steps: int | None = None
) -> DemoResult:
    """Runs every step, from generated DataComp shards to a trained model, with checks and scores.

    Prints a line on each step. Raises `ShardloomError` if a set fails verification.
    """
    console = Console(soft_wrap=True)
    run = AnnotateRun(workers=workers)
    images, annotations = f"{output}/images", f"{output}/annotations"
    started = time.monotonic()
    names = write_pictures(images, pictures, seed)
    took = time.monotonic() - started
    print_result(f"drew {pictures} pictures in {len(names)} shards: {images} ({took:.1f} s)")
    annotated = annotate(build_annotate_recipe(images, run), annotations)
    rate = read_times(Folder(annotations)).stages["boxes"]
    images_per_second = rate["images"] / max(rate["working_seconds"], 1e-9)
    say_totals("annotated", annotated, f"{images_per_second:.1f} images/s")
    sets = [annotations]
    rendered, sharded = {}, {}
    for family, asked in build_render_recipes(annotations, run).items():
        captions, training = f"{output}/captions/{family}", f"{output}/training/{family}"
        rendered[family] = render_set(asked, captions)
        say_totals(f"{family} captions", rendered[family], f"{rendered[family].counts['captions']:,} captions")
        joined = ShardRecipe(images=[f"{images}/*.tar"], captions=captions, samples_per_shard=100, run=run)
        sharded[family] = shard(joined, training)
        say_totals(f"{family} training shards", sharded[family], f"{sharded[family].outputs} shards")
        sets += [captions, training]
    ingested = ingest_documents(output, max(4, pictures // PICTURES_PER_DOCUMENT), run, seed)
    say_totals("documents", ingested, f"{ingested.counts['images']} images, {ingested.counts['lost_images']} lost")
    mixed = mix_everything(output, run)
    say_totals("mixture", mixed, f"{mixed.outputs} shards")
    print_mixture(collect_stats(f"{output}/mixed")["mixture"])
    for folder in [*sets, f"{output}/training/documents", f"{output}/mixed"]:
        if faults := verify(folder)[1]:
            raise ShardloomError(faults[0])
    print_result(f"verified: {len(sets) + 2} sets in {output}")
    texts, boxes = score_engines(annotations, f"{images}/truth.jsonl")
    show_captions(console, Folder(images).read("truth.jsonl"), build_render_recipes(annotations, run))
    trained = train_model(output, steps)
    print_training(console, trained)
    print_reports(output)
    return DemoResult(annotated, rendered, sharded, ingested, mixed, texts, boxes, images_per_second, trained)


def print_reports(output: str) -> None:
    """Prints the pages on which a person sees what the demo has made, the pictures first."""
    names = [f"{name}/{REPORT}" for name in VIEWED]
    places = [f"{output}/{name}" for name in names if Folder(output).exists(name)]
    if places:
        print_result(f"open in a browser: {'  '.join(places)}")


def write_pictures(images: str, pictures: int, seed: int = 0) -> list[str]:
    """Writes about four image shards, with the truth and the detector's vocabulary. Returns the names of the tars."""
    Folder(images).write(VOCABULARY_FILE, "".join(f"{word}\n" for word in LABELS).encode())
    return write_shards(Folder(images), pictures, per_shard=max(12, pictures // 4), seed=seed)


def build_annotate_recipe(images: str, run: AnnotateRun) -> AnnotateRecipe:
    """Builds the demo's recipe: the defaults, with the detector's vocabulary and without repeated images."""
    recipe = AnnotateRecipe(
        input=[f"{images}/*.tar"],
        engines={
            "ocr": EngineOptions(engine="rapidocr"),
            "tags": EngineOptions(engine="caption", settings={"vocabulary": f"{images}/{VOCABULARY_FILE}"}),
            "boxes": EngineOptions(engine="grounding_dino"),
        },
        run=run,
    )
    filters = recipe.filters.model_copy(update={"repeated_images": True})
    chunk = recipe.chunk.model_copy(
        update={"samples": 16}
    )  # small chunks spread so small a set evenly over the workers
    return recipe.model_copy(update={"filters": filters, "chunk": chunk})


def build_render_recipes(annotations: str, run: AnnotateRun) -> dict[str, RenderRecipe]:
    """Builds a recipe for each of the two caption families, with all their granularities."""
    return {family: RenderRecipe(family=family, input=annotations, run=run) for family in ("ocr", "grounding")}


def ingest_documents(output: str, count: int, run: AnnotateRun, seed: int = 0) -> Totals:
    """Writes interleaved documents in the layout of MINT-1T HTML and ingests them."""
    folder = f"{output}/documents"
    write_documents(Folder(folder), count, seed)
    recipe = IngestRecipe(
        source="mint-html",
        input=[f"{folder}/{DOCUMENTS_FILE}"],
        images=[f"{folder}/{URL_MAP_FILE}"],
        samples_per_shard=100,
        run=IngestRun(workers=run.workers),
    )
    return ingest(recipe, f"{output}/training/documents")


def mix_everything(output: str, run: AnnotateRun) -> Totals:
    """Mixes all training shards of the demo, by the shipped recipe."""
    recipe = load_recipe(MixRecipe, str(MIXTURE_RECIPE))
    sources = {name: [f"{output}/training/{name}"] for name in recipe.sources}
    alike = recipe.model_copy(update={"sources": sources, "run": RunOptions(workers=run.workers)})
    return mix(alike, f"{output}/mixed")


def say_totals(what: str, totals: Totals, rate: str) -> None:
    """Prints one line on a step."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    rows = f"{totals.rows_in:,} in, {totals.rows_out:,} out, {totals.quarantined:,} quarantined"
    print_result(f"{what}: {rows}{f' ({reasons})' if reasons else ''}; {rate}")


def score_engines(annotations: str, truth: str) -> tuple[TextScores, BoxScores]:
    """Scores the engines against what was drawn, and prints the scores."""
    texts, boxes = evaluate_ocr(annotations, truth).scores, evaluate_boxes(annotations, truth).scores
    assert isinstance(texts, TextScores)
    assert isinstance(boxes, BoxScores)
    read, found = texts.total, boxes.total
    print_result(
        f"text: character error rate {read.cer.value:.2%}, word error rate {read.wer.value:.2%}, "
        f"of {read.counts.words:,} words",
    )
    print_result(
        f"boxes: F1 {found.f1.value:.3f} (precision {found.precision.value:.3f}, recall {found.recall.value:.3f}) at "
        f"IoU {boxes.iou:g}, mean IoU {found.mean_iou.value:.3f}, of {found.objects:,} objects",
    )
    return texts, boxes


def show_captions(console: Console, truth: bytes, families: dict[str, RenderRecipe]) -> None:
    """Prints the captions of a few pictures of different kinds, at every granularity."""
    rows = [row for row in map(json.loads, truth.splitlines()) if not row["fault"]]
    for family, recipe in families.items():
        known, left = ("items" if family == "ocr" else "objects"), CAPTIONS_PER_FAMILY
        kinds: set[str] = set()
        for row in rows:
            if left and row[known] and (family == "grounding" or row["kind"] not in kinds):
                kinds.add(row["kind"])
                left -= 1
                captions = preview_record(recipe, row["uid"])
                # grounding is clearest within the alt text, OCR without it
                shown = [one for one in captions if one.include_datacomp_raw_cap == (family == "grounding")]
                console.print(build_caption_table(f"{row['kind']} {row['uid']}", shown))


def build_caption_table(title: str, captions: list[Caption]) -> Table:
    """Builds the table of the captions of one picture."""
    table = Table("granularity", "caption", title=make_cell(title), title_justify="left")
    for caption in captions:
        table.add_row(str(caption.granularity), make_cell(caption.text))
    return table
