"""Joins image shards with a caption set into training shards of equal length, each with its index."""

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.caption_set import CaptionSet
from pipelines.inputs import input_shards
from pipelines.join import Joined, JoinedShard
from pipelines.output import DATA, INDEX, QUARANTINE, begun, commit, committed, parquet_bytes, put
from pipelines.progress import Progress
from pipelines.recipe import ShardRecipe
from pipelines.shard_plan import Unit, check_unchanged, cut_units, take_census
from pipelines.stats import RunClock, Totals, check_damage, totals
from pipelines.storage import Folder
from pipelines.units import map_units
from schemas.caption import Caption
from schemas.manifest import InputFile, Manifest, OutputFile
from schemas.quarantine import QUARANTINE as QUARANTINE_SCHEMA
from schemas.shard_index import INDEX as INDEX_SCHEMA
from schemas.tar_writer import TarWriter
from schemas.training_shard import PARQUET, CaptionedImage

ROW_GROUP = 256  # samples; what a reader must hold at least


def shard(recipe: ShardRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the training shards that are not committed yet."""
    folder = Folder(output)
    inputs = input_shards(recipe.images, ".tar")
    captions = CaptionSet(recipe.captions)
    recipe = captions.resolved(recipe)
    with begun(folder, recipe):
        done = committed(folder)
        clock = RunClock()
        with Progress("join", len(inputs), "samples", quiet) as progress:
            censuses = []
            for census in map_units(functools.partial(take_census, captions), inputs, recipe.run):
                censuses.append(census)
                progress.advance(1)
        order = {shard.name: position for position, shard in enumerate(inputs)}
        units = cut_units(sorted(censuses, key=lambda census: order[census.shard.name]), recipe.samples_per_shard)
        check_unchanged(folder, {unit.name: unit for unit in units}, done, captions)
        todo = [unit for unit in units if unit.name not in done]
        with Progress("shard", len(todo), "samples", quiet) as progress:
            samples = 0
            work = functools.partial(write_unit, recipe, folder, captions)
            for manifest in map_units(work, todo, recipe.run):
                commit(folder, manifest)
                samples += manifest.rows_out
                progress.advance(1)
                progress.show(samples)
        if todo:
            clock.stop(folder)
        result = totals(folder)
    check_damage(result, recipe.run.allow_damaged)
    return result


def write_unit(recipe: ShardRecipe, output: Folder, captions: CaptionSet, unit: Unit) -> Manifest:
    """Writes one shard, its index and its quarantine; they count once the manifest is written."""
    visit = Visit(captions, unit)
    samples = (captioned_image(recipe, unit.name, row, joined) for row, joined in enumerate(visit))
    write = write_webdataset if recipe.format == "webdataset" else write_parquet
    assert recipe.source is not None  # the caption set has filled it in
    data, index = write(output, unit.name, samples, recipe.source)
    left_out = pa.Table.from_pylist(visit.left_out, schema=QUARANTINE_SCHEMA)
    return Manifest(
        name=unit.name,
        recipe_sha256=recipe.sha256(),
        inputs=visit.inputs,
        rows_in=visit.rows_in,
        rows_out=data.rows,
        reasons=dict(sorted(Counter(left_out["reason"].to_pylist()).items())),
        counts={
            "characters": pc.sum(index["characters"]).as_py() or 0,
            "empty_texts": pc.sum(pc.equal(index["characters"], 0)).as_py() or 0,
            "images": data.rows,
        },
        outputs=[
            data,
            put(output, f"{INDEX}/{unit.name}.parquet", parquet_bytes([index], INDEX_SCHEMA), data.rows),
            put(
                output,
                f"{QUARANTINE}/{unit.name}.parquet",
                parquet_bytes([left_out], QUARANTINE_SCHEMA),
                left_out.num_rows,
            ),
        ],
        damage=visit.damage,
    )


class Visit:
    """Goes through a unit's stretches: hands on the good samples, keeps account of everything else."""

    def __init__(self, captions: CaptionSet, unit: Unit) -> None:
        self.captions, self.unit = captions, unit
        self.inputs: list[InputFile] = [captions.revision]
        self.damage: list[str] = []
        self.left_out: list[dict[str, str | None]] = []
        self.rows_in = 0

    def __iter__(self) -> Iterator[Joined]:
        for stretch in self.unit.stretches:
            joined = JoinedShard(stretch.shard, self.captions, stretch.is_own)
            for sample in joined.samples(stretch.start, stretch.stop):
                self.rows_in += 1
                if isinstance(sample, Joined):
                    yield sample
                else:
                    self.left_out.append(
                        {
                            "key": sample.key,
                            "uid": sample.uid,
                            "stage": "shard",
                            "reason": sample.fault.reason.value,
                            "detail": sample.fault.detail,
                        }
                    )
            reader = joined.reader
            self.inputs.append(InputFile(path=stretch.shard.path, size=reader.size, sha256=reader.sha256))
            self.damage += [f"{stretch.shard.name}: byte {found.offset}: {found.what}" for found in reader.damage]


def captioned_image(recipe: ShardRecipe, unit: str, row: int, joined: Joined) -> CaptionedImage:
    """The training sample. Its key is new, because keys of several input shards may be equal."""
    image = joined.image
    return CaptionedImage(
        key=f"{unit}{row:06d}",
        uid=image.uid or "",
        url=image.url or "",
        source_shard=joined.shard,
        source_key=image.key,
        width=joined.width,
        height=joined.height,
        sha256=joined.sha256,
        alt_text=image.caption,
        text=chosen_caption(joined.captions, recipe),
        captions=joined.row.captions,
        metadata=joined.row.metadata,
        extension={"jpeg": "jpg", "tiff": "tif"}.get(image.extension, image.extension),
        image=image.image.data,
    )


def chosen_caption(captions: list[Caption], recipe: ShardRecipe) -> str:
    """The text of the granularity that the recipe asks for; empty, and counted as such, when there is none."""
    for caption in captions:
        if (caption.granularity, caption.include_datacomp_raw_cap) == (recipe.granularity, recipe.raw_caption):
            return caption.text
    return ""


def write_webdataset(
    output: Folder, name: str, samples: Iterator[CaptionedImage], source: str
) -> tuple[OutputFile, pa.Table]:
    """Writes a tar; returns it and its index."""
    path = f"{DATA}/{name}.tar"
    rows = []
    with output.create(path) as file:
        writer = TarWriter(file)
        for sample in samples:
            row = index_row(sample, source)
            for kind, (ending, data) in zip(("image", "json", "text"), sample.members(), strict=True):
                row |= {f"{kind}_offset": writer.add(f"{sample.key}.{ending}", data), f"{kind}_size": len(data)}
            rows.append(row)
        sha256 = writer.close()
    file_of = OutputFile(path=path, rows=len(rows), size=writer.size, sha256=sha256)
    return file_of, pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)


def write_parquet(
    output: Folder, name: str, samples: Iterator[CaptionedImage], source: str
) -> tuple[OutputFile, pa.Table]:
    """Writes a Parquet file; returns it and its index."""
    path = f"{DATA}/{name}.parquet"
    rows = []
    with output.create(path) as file, pq.ParquetWriter(file, PARQUET, compression="none") as writer:
        for batch in batched(samples, ROW_GROUP):
            rows += [index_row(sample, source) for sample in batch]
            writer.write_table(pa.Table.from_pylist([sample.row() for sample in batch], schema=PARQUET))
    size, sha256 = output.sha256(path)
    file_of = OutputFile(path=path, rows=len(rows), size=size, sha256=sha256)
    return file_of, pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)


def index_row(sample: CaptionedImage, source: str) -> dict[str, Any]:
    """What the index says of a sample, but for where it lies in a tar."""
    return {
        "key": sample.key,
        "uid": sample.uid or None,
        "source": source,
        "image_size": len(sample.image),
        "text_size": len(sample.text.encode()),
        "json_size": 0,
        "width": sample.width,
        "height": sample.height,
        "characters": len(sample.text),
        "images": 1,
        "sha256": sample.sha256,
    }


def batched(samples: Iterator[CaptionedImage], size: int) -> Iterator[list[CaptionedImage]]:
    """Runs of at most `size` samples."""
    while batch := list(itertools.islice(samples, size)):
        yield batch


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["shard", *sys.argv[1:]])
