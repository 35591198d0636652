"""Collects what a probe has found out about the images: their bytes and pixels, and what engines were asked."""

import io
import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, QUARANTINE, read_manifests, read_output
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.tag import TAGS_COLUMN
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table

PROMPT_TOKENS = 256  # that a prompt of Grounding DINO holds, with two marks at its ends


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """Holds means over the images of a probe."""

    rows: int
    quarantined: int
    bytes_in: float  # in a tar, with their headers
    bytes_out: float  # of annotations and quarantine
    pixels: float
    names: float | None = None  # tags, each once: what the detector is asked for
    prompts: dict[str, float] | None = None  # by stage; of the detector at least, as words may be several tokens
    tokens: float | None = None  # of the prompts and answers of captions


def collect_facts(output: Folder, recipe: AnnotateRecipe, bytes_in: int) -> SampleFacts:
    """Returns the facts of a probe's set, whose samples have so many bytes. Raises `UsageError` if it has no row."""
    manifests = read_manifests(output).values()
    rows, kept = sum(one.rows_in for one in manifests), sum(one.rows_out for one in manifests)
    files = [file for one in manifests for file in one.outputs if file.path.startswith(f"{DATA}/") and file.rows]
    if not files:
        raise UsageError("the probe annotated no image: see the reasons that it logs, or pass another --seed")
    sizes = sum(file.size for one in manifests for file in one.outputs if file.path.startswith((DATA, QUARANTINE)))
    tables = [read_table(io.BytesIO(read_output(output, one.path, one.sha256, one.size))) for one in files]
    table = pa.concat_tables(tables, promote_options="default")
    pixels = pc.mean(pc.multiply(table["width"].cast(pa.int64()), table["height"].cast(pa.int64()))).as_py()
    names = _list_names(table)
    return SampleFacts(
        rows,
        rows - kept,
        bytes_in / rows,
        sizes / rows,
        pixels,
        None if names is None else sum(map(len, names)) / len(names),
        _count_prompts(recipe, names),
        _count_tokens(table),
    )


def _list_names(table: pa.Table) -> list[set[str]] | None:
    if TAGS_COLUMN.name not in table.column_names:
        return None
    return [{tag["name"] for tag in tags or ()} for tags in table[TAGS_COLUMN.name].to_pylist()]


def _count_prompts(recipe: AnnotateRecipe, names: list[set[str]] | None) -> dict[str, float]:
    """Returns the prompts of an image by stage: one of a caption, and of boxes as many as hold the names."""
    prompts = {stage: 1.0 for stage in recipe.stages if stage.partition(".")[0] == CAPTIONS_COLUMN.name}
    if "boxes" in recipe.stages and names is not None:
        tokens = [sum(len(name.split()) + 1 for name in found) for found in names]
        prompts["boxes"] = sum(math.ceil(count / (PROMPT_TOKENS - 2)) for count in tokens) / len(tokens)
    return prompts


def _count_tokens(table: pa.Table) -> float | None:
    if CAPTIONS_COLUMN.name not in table.column_names:
        return None
    captions = [one for row in table[CAPTIONS_COLUMN.name].to_pylist() for one in row or ()]
    tokens: int = sum((one["prompt_tokens"] or 0) + (one["completion_tokens"] or 0) for one in captions)
    return tokens / int(table.num_rows)
