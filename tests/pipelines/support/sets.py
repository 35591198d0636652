"""Output sets made on the spot, without Ray and without an engine, and a disk that is easily filled."""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.engines.stages import StageName, get_caption_name
from pipelines.annotate.chunks import build_samples_table, compute_digest, cut_chunks
from pipelines.annotate.messages import Chunk, ShardEnd
from pipelines.annotate.outcomes import Outcome, with_decoded, with_values
from pipelines.annotate.parts import join_parts, write_part
from pipelines.cli.app import main
from pipelines.inputs.shards import list_input_shards
from pipelines.output.claim import claim
from pipelines.output.totals import Totals
from pipelines.output.writer import commit
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun
from pipelines.recipes.base import Recipe
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.render.run import render_set
from pipelines.shard.run import shard
from schemas.output_set.lock import lock_output
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter

ALONE = AnnotateRun(workers=1)
COMMAND = Path(sys.executable).with_name("shardloom")


def line(text: str, confidence: float = 0.5) -> TextLine:
    """A line of text in the middle of an image."""
    return TextLine(text, (0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75), (0.25, 0.25, 0.75, 0.75), confidence)


def lines_of(key: str) -> list[TextLine]:
    """None for every fifth key, else one to three lines of confidence 0.25, 0.5 and 0.75."""
    number = int(key)
    return [line(f"{key} {at}", at / 4) for at in range(1, number % 3 + 2)] if number % 5 else []


def write_samples(path: Path, samples: list[tuple[str, bytes, str, dict[str, Any]]]) -> str:
    """A home-made tar: key, image, alt text and the other fields of each sample, of which there may be none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = TarWriter(file)
        for key, image, alt_text, details in samples:
            writer.add(f"{key}.jpg", image)
            writer.add(f"{key}.txt", alt_text.encode())
            writer.add(f"{key}.json", json.dumps(details).encode())
        writer.close()
    return str(path)


@contextlib.contextmanager
def opened(output: Folder, recipe: Recipe) -> Iterator[None]:
    """The output set of this recipe, kept to this process as by a run."""
    with lock_output(output, "test"):
        claim(output, recipe)
        yield


def annotation_set(images: str, output: Path, lines: Callable[[str], list[TextLine]] = lines_of) -> Path:
    """What `shardloom annotate ocr` writes, by the same functions, with these lines of text."""
    return annotated(images, output, {"ocr": (OCR_COLUMN, lambda key: [line_to_arrow(found) for found in lines(key)])})


def grounding_set(
    images: str, output: Path, boxes: Callable[[str], list[Detection] | None], tags: Callable[[str], list[Tag]]
) -> Path:
    """What `shardloom annotate tags,boxes` writes. Where the boxes are None their engine has failed."""

    def found(key: str) -> list[Any] | None:
        things = boxes(key)
        return None if things is None else [detection_to_arrow(thing) for thing in things]

    return annotated(
        images,
        output,
        {"tags": (TAGS_COLUMN, lambda key: [tag_to_arrow(tag) for tag in tags(key)]), "boxes": (BOXES_COLUMN, found)},
    )


Values = Callable[[str], Any]
"""What an engine finds in the image of a key; None where it fails."""


def annotated(images: str, output: Path, columns: dict[StageName, tuple[pa.Field, Values]]) -> Path:
    """An annotation set with the columns of these stages."""
    spec = {"engine": "PixelOcr"}
    engines: dict[str, Any] = {stage: spec for stage in columns if not get_caption_name(stage)}
    if names := [name for name in map(get_caption_name, columns) if name]:
        engines["captions"] = dict.fromkeys(names, spec)
    recipe = AnnotateRecipe.model_validate({"input": [images], "engines": engines, "run": ALONE})
    fingerprint = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={}).model_dump_json()
    folder = Folder(str(output))
    with opened(folder, recipe):
        for shard in list_input_shards(recipe.input, ".tar"):
            digests, keys = [], []
            with Path(shard.path).open("rb") as file:
                reader = TarReader(file)
                for index, samples in enumerate(cut_chunks(reader, recipe.chunk)):
                    digests.append(compute_digest(samples))
                    keys += [sample.key for sample in samples]
                    sizes = [Outcome(width=64, height=48) for _ in samples]
                    table = with_decoded(build_samples_table(samples), sizes, keep_pixels=False)
                    for name, (column, values) in columns.items():
                        outcomes = [Outcome(value=values(sample.key)) for sample in samples]
                        for outcome in outcomes:
                            if outcome.value is None:
                                outcome.failure = Rejected(Reason.ENGINE_ERROR, "ValueError: no luck")
                        table = with_values(table, outcomes, name, column, list(columns))
                    table = table.replace_schema_metadata(dict.fromkeys((f"engine.{n}" for n in columns), fingerprint))
                    chunk = Chunk(shard.name, index, digests[-1], 0, table)
                    write_part(folder, chunk, recipe.compute_sha256(), list(columns))
            damage = [f"byte {found.offset}: {found.description}" for found in reader.damage]
            end = ShardEnd(shard.name, shard.path, reader.size, reader.sha256, digests, len(keys), damage)
            commit(folder, join_parts(folder, end, recipe.compute_sha256()))
        folder.clear("parts")
    return output


def caption_set(annotations: Path, output: Path, **options: Any) -> Path:
    """The captions of an annotation set."""
    render_set(RenderRecipe(input=str(annotations), run=ALONE, **options), str(output))
    return output


def grounding_caption_set(annotations: Path, output: Path, **options: Any) -> Path:
    """The grounding captions of an annotation set."""
    render_set(RenderRecipe(family="grounding", input=str(annotations), run=ALONE, **options), str(output))
    return output


def join(images: str, captions: Path, output: Path, **options: Any) -> Totals:
    """Training shards of nine samples."""
    values = {"samples_per_shard": 9, "run": ALONE} | options
    return shard(ShardRecipe(images=[images], captions=str(captions), **values), str(output))


def read_tars(folder: Path) -> dict[str, dict[str, bytes]]:
    """The members of each sample, by key and ending, as Python's own reader has them."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((folder / "data").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                body = tar.extractfile(member)
                assert body is not None
                found.setdefault(key, {})[ending] = body.read()
    return found


def rows(folder: Path, below: str = "data") -> list[dict[str, Any]]:
    """The rows of all Parquet files in a sub-folder of an output set."""
    return [row for path in sorted((folder / below).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def every_file(folder: Path) -> dict[str, str]:
    """The hash of every file, timings and all."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def shardloom(*arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own."""
    command = [str(COMMAND), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def in_process(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """The command in this process, which spares it the seconds that its imports take."""
    words, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
        main(words)
    code = done.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def small_disk(folder: Path, size: int, *, read_only: bool = False) -> Iterator[Path]:
    """A file system of its own in `folder`; skips the test where none may be mounted."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}{',ro' if read_only else ''}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
