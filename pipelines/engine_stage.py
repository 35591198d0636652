"""The actor that runs engines over chunks: decode once, every engine, one verdict a sample, one part a chunk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray

from curation.decode import RgbImage, decode
from curation.filters import image_fault
from pipelines.attempts import DEATHS_ALONE, Attempts
from pipelines.chunks import VERDICT_COLUMNS
from pipelines.engines import Engine, load_engine
from pipelines.messages import Chunk, Failure, Written, from_row, to_row
from pipelines.parts import write_part
from pipelines.recipe import AnnotateRecipe
from pipelines.storage import Folder
from schemas.annotation import IMAGE_COLUMNS
from schemas.errors import ShardloomError, UsageError
from schemas.fingerprint import EngineFingerprint
from schemas.quarantine import Reason, Rejected

BEAT_SECONDS = 2.0


@dataclass(slots=True)
class Verdict:
    """What became of one sample: annotations by column, or the fault for which it is left out."""

    width: int = 0
    height: int = 0
    annotations: dict[str, Any] | None = None
    fault: Rejected | None = None


class EngineStage:
    """Runs the recipe's engines. One process, one instance; every call is one chunk."""

    name = "annotate"

    def __init__(
        self,
        recipe: AnnotateRecipe,
        output: Folder,
        expected: dict[str, EngineFingerprint] | None,
        ledger: ray.actor.ActorHandle,
        repeats: dict[str, list[str]],
    ) -> None:
        self.recipe, self.output = recipe, output
        self.recipe_sha256 = recipe.sha256()
        self.ledger = ledger
        self.repeats = {shard: set(keys) for shard, keys in repeats.items()}
        self.engines: dict[str, Engine] = {}
        self.failure: ShardloomError | None = None
        try:
            self._load(expected or {})
        except ShardloomError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001  an engine may raise anything
            self.failure = ShardloomError(f"an engine can't start: {type(error).__name__}: {error}")
        ledger.start.remote(self.name)

    def _load(self, expected: dict[str, EngineFingerprint]) -> None:
        self.engines = {name: load_engine(name, spec) for name, spec in self.recipe.engines.items()}
        self.fingerprints = {name: engine.fingerprint for name, engine in self.engines.items()}
        for name, fingerprint in expected.items():
            check_fingerprint(name, fingerprint, self.fingerprints[name])

    def __call__(self, row: pa.Table) -> pa.Table:
        """Works on a chunk, puts its part in place and says so. Other messages pass through."""
        if self.failure is not None:
            return to_row(Failure.of(self.failure))
        chunk = from_row(row)
        if not isinstance(chunk, Chunk):
            return row
        try:
            return to_row(self._annotated(chunk))
        except ShardloomError as error:
            return to_row(Failure.of(error))

    def _annotated(self, chunk: Chunk) -> Written:
        assert chunk.table is not None
        label = f"{chunk.shard}/{chunk.index}"
        attempts: Attempts = ray.get(self.ledger.begin.remote(self.name, label, chunk.table.num_rows))
        verdicts = self._verdicts(chunk, label, attempts)
        table = annotation_table(chunk.table, verdicts, [engine.column for engine in self.engines.values()])
        table = table.replace_schema_metadata(
            {f"engine.{name}": fingerprint.model_dump_json() for name, fingerprint in self.fingerprints.items()}
        )
        write_part(self.output, replace(chunk, table=table), self.recipe_sha256)
        self.ledger.finish.remote(self.name, label)
        errors = table["reason"].to_pylist().count(Reason.ENGINE_ERROR)
        return Written(chunk.shard, chunk.index, chunk.size, table.num_rows, errors)

    def _verdicts(self, chunk: Chunk, label: str, attempts: Attempts) -> list[Verdict]:
        assert chunk.table is not None
        images, reasons = chunk.table["image"], chunk.table["reason"]
        repeated = self.repeats.get(chunk.shard, set())
        keys = chunk.table["key"].to_pylist() if repeated else []
        verdicts = [Verdict() for _ in range(chunk.table.num_rows)]
        for killer in attempts.killers:
            detail = f"{DEATHS_ALONE} workers died while they were at work on this sample alone"
            verdicts[killer].fault = Rejected(Reason.WORKER_KILLED, detail)
        done, since = 0, time.monotonic()
        for start, stop in attempts.ranges(len(verdicts), self.recipe.batch_size):
            if attempts.suspects:
                ray.get(self.ledger.enter.remote(self.name, label, (start, stop)))
            batch: list[tuple[Verdict, RgbImage]] = []
            for index in range(start, stop):
                if repeated and keys[index] in repeated:
                    verdicts[index].fault = Rejected(
                        Reason.REPEATED_IMAGE, "the same bytes came before in this data set"
                    )
                elif (
                    not reasons[index].is_valid
                    and (pixels := self._decoded(images[index], verdicts[index])) is not None
                ):
                    batch.append((verdicts[index], pixels))
            self._annotate(batch)
            done += stop - start
            if (now := time.monotonic()) - since >= BEAT_SECONDS or stop == len(verdicts):
                self.ledger.beat.remote(self.name, done, now - since)
                done, since = 0, now
        return verdicts

    def _decoded(self, image: pa.Scalar, verdict: Verdict) -> RgbImage | None:
        try:
            pixels = decode(image.as_py(), self.recipe.decode)
        except Rejected as fault:
            verdict.fault = fault
            return None
        except MemoryError:
            verdict.fault = Rejected(Reason.DECODE_ERROR, "out of memory")
            return None
        verdict.height, verdict.width = pixels.shape[:2]
        verdict.fault = image_fault(verdict.width, verdict.height, self.recipe.filters)
        return None if verdict.fault else pixels

    def _annotate(self, batch: Sequence[tuple[Verdict, RgbImage]]) -> None:
        """Runs every engine on the batch; if one raises, on each image alone: one bad image costs no neighbour."""
        if not batch:
            return
        try:
            columns = {name: engine.annotate([pixels for _, pixels in batch]) for name, engine in self.engines.items()}
        except Exception as error:  # noqa: BLE001  an engine may raise anything; the row says what
            if len(batch) > 1:
                for one in batch:
                    self._annotate([one])
            else:
                batch[0][0].fault = Rejected(Reason.ENGINE_ERROR, f"{type(error).__name__}: {error}"[:500])
            return
        for position, (verdict, _) in enumerate(batch):
            verdict.annotations = {name: column[position] for name, column in columns.items()}


def annotation_table(samples: pa.Table, verdicts: Sequence[Verdict], columns: Sequence[pa.Field]) -> pa.Table:
    """The chunk's rows without their images: annotations for the good ones, verdicts for the others."""
    rows = samples.drop_columns(["image", "stage", "reason", "detail"]).to_pylist()
    before = samples.select(["stage", "reason", "detail"]).to_pylist()
    for row, earlier, verdict in zip(rows, before, verdicts, strict=True):
        row |= {"width": verdict.width, "height": verdict.height} | (verdict.annotations or {})
        if verdict.fault is not None:
            row |= {"stage": "annotate", "reason": verdict.fault.reason.value, "detail": verdict.fault.detail}
        else:
            row |= earlier
    return pa.Table.from_pylist(rows, schema=part_schema(columns))


def part_schema(columns: Sequence[pa.Field]) -> pa.Schema:
    """A part holds good and bad rows in the order of the input; the commit separates them."""
    return pa.schema([*IMAGE_COLUMNS, *columns, *VERDICT_COLUMNS])


def check_fingerprint(name: str, expected: EngineFingerprint, actual: EngineFingerprint) -> None:
    """Refuses to go on with another engine than the one that began."""
    if expected == actual:
        return
    was, now = expected.model_dump(), actual.model_dump()
    differing = ", ".join(f"{key} was {was[key]!r}, is {now[key]!r}" for key in was if was[key] != now[key])
    raise UsageError(f"the output was begun with another {name} engine ({differing}): take a new output folder")
