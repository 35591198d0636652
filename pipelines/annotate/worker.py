"""Defines the actor that works on chunks: it decodes, runs an engine, or both. In the last pool it writes the part."""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import ray

from curation.engines.kinds import KINDS, EngineInput, EngineUnusable
from curation.engines.stages import StageName, get_kind
from curation.images.decode import RgbImage, decode
from curation.images.filters import find_image_fault
from pipelines.annotate.captions.columns import count_tokens
from pipelines.annotate.chunk_rows import ChunkRange, ChunkRows
from pipelines.annotate.claims.fingerprints import add_prompt, agree_on_fingerprint, check_fingerprint
from pipelines.annotate.hang_watch import HangWatch
from pipelines.annotate.messages import Chunk, WrittenPart, decode_message, encode_message
from pipelines.annotate.outcomes import (
    PIXELS,
    Outcome,
    count_errors_by_engine,
    count_rows_by_reason,
    with_decoded,
    with_values,
    with_verdicts,
)
from pipelines.annotate.parts import ENGINE_PREFIX, write_part
from pipelines.annotate.pools import Pool
from pipelines.annotate.processes.admission import ChunkAdmission
from pipelines.annotate.processes.recycling import end_process
from pipelines.cluster.attempts import Attempts, Range
from pipelines.cluster.failure import Failure
from pipelines.cluster.heartbeats import send_heartbeats
from pipelines.cluster.ledger_client import LedgerClient, choose_send_seconds
from pipelines.engines.loader import Engine, load_engine, needs_pixels
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from schemas.errors import ShardloomError, to_one_line
from schemas.log import LOG, configure_log
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count

HEARTBEAT_SECONDS = 2.0
BATCHES_AT_ONCE = 64  # of an engine that takes concurrent calls: all of two chunks with batches of 8 images


class PoolWorker:
    """Works on chunks, one per call. Each process has one instance, called by as many threads as it has chunks at once.

    With `run.recycle_images` a process ends itself after about that number of images, which frees what an engine's
    native code has leaked. It ends when it gets its next chunk, before it starts on it, so that no work is lost or done
    twice: Ray starts another process in its place and gives that the chunk.
    """

    def __init__(
        self,
        recipe: AnnotateRecipe,
        pool: Pool,
        output: Folder,
        expected: Mapping[str, EngineFingerprint],
        ledger: ray.actor.ActorHandle,
        repeats: dict[str, list[str]],
        prepared: ray.ObjectRef | None,
        log_level: int,
    ) -> None:
        configure_log(log_level, process=f"{pool.name} worker {os.getpid()}")
        self.recipe, self.pool, self.output = recipe, pool, output
        self.recipe_sha256, self.stages = recipe.compute_sha256(), list(recipe.stages)
        self.repeats = {shard: set(keys) for shard, keys in repeats.items()}
        self.engine: Engine | None = None
        self.start_error: ShardloomError | None = None
        self.images_done = 0  # worked on by this process
        self.admission = ChunkAdmission()
        self.batches = ThreadPoolExecutor(BATCHES_AT_ONCE, "batch") if pool.chunks_at_once > 1 else None
        send_seconds = choose_send_seconds(pool.request.max_workers, recipe.run.stall_seconds)
        self.ledger = LedgerClient(ledger, pool.name, send_seconds)
        try:
            if pool.engine is not None and pool.options is not None:
                with send_heartbeats(ledger):
                    shared = None if prepared is None else ray.get(prepared)
                    self._load(pool.engine, pool.options, expected.get(pool.engine), shared)
        except ShardloomError as error:
            self.start_error = error
        except Exception as error:  # noqa: BLE001  an engine may raise anything
            self.start_error = ShardloomError(f"the {pool.name} engine can't start: {_describe_error(error)}")
        self.watch = HangWatch(self.ledger, recipe.run.stall_seconds, recipe.decode)
        self.watch.start()
        LOG.debug("started" if self.start_error is None else f"cannot start: {self.start_error}")
        self.ledger.add_worker()

    def _load(
        self, stage: StageName, options: EngineOptions, expected: EngineFingerprint | None, prepared: object
    ) -> None:
        if isinstance(prepared, Failure):
            raise prepared.to_error()
        self.engine = load_engine(
            stage,
            options,
            prepared,
            trusted=self.pool.trusted,
            gpus=self.pool.request.gpus,
            notify=self.ledger.add_notice,
            report_retries=self.ledger.record_retries,
        )
        self.fingerprint = add_prompt(self.engine.fingerprint, self.pool.prompt)
        self.needs_pixels, self.needs_tags = needs_pixels(stage, options), KINDS[get_kind(stage)].needs_tags
        if expected is None and self.recipe.run.claim:
            expected = agree_on_fingerprint(self.output, stage, self.fingerprint)
        if expected is not None:
            check_fingerprint(stage, expected, self.fingerprint)

    def __call__(self, row: pa.Table) -> pa.Table:
        """Works on a chunk and forwards it; in the last pool, writes its part and returns a `WrittenPart`.

        Forwards other messages unchanged. Returns a foreseen error as a `Failure`.
        """
        if not row.num_rows:  # of a reader without a shard
            return row
        if self.start_error is not None:
            return encode_message(Failure.from_error(self.start_error))
        chunk = decode_message(row)
        if not isinstance(chunk, Chunk):
            return row
        if self.images_done >= (self.recipe.run.recycle_images or math.inf):
            with self.admission.admit(is_alone=True):
                end_process(self.ledger)
        try:
            with self.admission.admit(is_alone=self.ledger.has_deaths(chunk.label)):
                return self._process_chunk(chunk)
        except ShardloomError as error:
            return encode_message(Failure.from_error(error))

    def _process_chunk(self, chunk: Chunk) -> pa.Table:
        assert chunk.table is not None
        started = time.monotonic()
        label = chunk.label
        rows = chunk.table.num_rows
        attempts = self.ledger.begin(label, rows, chunk.size, chunk.start, is_last=chunk.is_at_end)
        samples = ChunkRows(chunk.table, self.repeats.get(chunk.shard, set()))
        table = self._add_results(chunk.table, self._process_samples(samples, label, attempts))
        done: Chunk | WrittenPart = replace(chunk, table=table)
        if isinstance(done, Chunk) and self.pool.is_last:
            write_part(self.output, done, self.recipe_sha256, self.stages)
            counted = (table.num_rows, count_rows_by_reason(table), count_errors_by_engine(table), take_retry_count())
            tokens = count_tokens(table, self.pool.captions)
            done = WrittenPart(chunk.shard, chunk.index, chunk.size, *counted, chunk.start, chunk.of_rows, tokens)
        row = encode_message(done)  # memory peaks here: a worker that dies of it has not finished the chunk
        self.ledger.finish(label, chunk.ends_chunk(), is_last=chunk.is_at_end)
        self.images_done += table.num_rows
        LOG.debug(f"{label}: {table.num_rows} images in {time.monotonic() - started:.1f} s")
        return row

    def __del__(self) -> None:
        """Reports the worker's last events, as Ray Data drops it at the end of the run."""
        if (ledger := getattr(self, "ledger", None)) is not None:
            with contextlib.suppress(Exception):  # the ledger may have ended before
                ledger.flush()

    def _add_results(self, table: pa.Table, outcomes: list[Outcome]) -> pa.Table:
        """Adds this pool's outcomes to the table, and drops what no later pool needs."""
        if self.pool.decodes:
            table = with_decoded(table, outcomes, self.pool.keeps_pixels)
        elif not self.pool.keeps_pixels and PIXELS.name in table.column_names:
            table = table.drop_columns([PIXELS.name])
        if self.engine is not None:
            table = with_values(table, outcomes, self.pool.name, self.engine.column, self.stages)
            fingerprint = {f"{ENGINE_PREFIX}{self.pool.name}": self.fingerprint.model_dump_json()}
            table = table.replace_schema_metadata((table.schema.metadata or {}) | fingerprint)
        return with_verdicts(table, outcomes)

    def _process_samples(self, samples: ChunkRows, label: str, attempts: Attempts) -> list[Outcome]:
        outcomes = [Outcome() for _ in samples.keys]
        poison_samples = set(attempts.poison_samples)
        for poison_sample in poison_samples:
            self._give_up(
                outcomes[poison_sample], Rejected(Reason.WORKER_KILLED, attempts.describe_fault(poison_sample))
            )

        def work(found: Range) -> Range:
            batch = ChunkRange(label, found, attempts.is_isolating)
            places = [place for place in range(*found) if samples.is_good[place] and place not in poison_samples]
            self._process_batch(samples, batch, places, outcomes)
            return found

        ranges = attempts.plan_ranges(len(outcomes), self.pool.batch_size)
        at_once = None if attempts.is_isolating else self.batches
        self._report_done(label, at_once.map(work, ranges) if at_once else map(work, ranges), len(outcomes))
        return outcomes

    def _report_done(self, label: str, ranges: Iterator[Range], rows: int) -> None:
        """Reports the ranges of a chunk of `rows` samples as they are done."""
        done, since = 0, time.monotonic()
        for start, stop in ranges:
            done += stop - start
            if (now := time.monotonic()) - since >= HEARTBEAT_SECONDS or stop == rows:
                self.ledger.record_progress(label, done, self.admission.take_busy_seconds())
                done, since = 0, now

    def _process_batch(self, samples: ChunkRows, batch: ChunkRange, places: list[int], outcomes: list[Outcome]) -> None:
        """Works on the usable samples of a batch."""
        if self.pool.decodes:
            places = [place for place in places if self._decode(samples, batch, place, outcomes[place])]
        self._start_range(batch)
        if self.engine is not None:
            places = [place for place in places if self._has_input(samples, place, outcomes[place])]
            self._annotate(samples, batch, places, outcomes)
        if not self.pool.keeps_pixels:
            for place in places:
                outcomes[place].pixels = None

    def _start_range(self, batch: ChunkRange) -> None:
        """Reports the range that starts now to the ledger, if a worker has died on this chunk before."""
        if batch.is_isolating:
            self.ledger.start_range(batch.chunk, batch.range)

    def _decode(self, samples: ChunkRows, batch: ChunkRange, place: int, outcome: Outcome) -> bool:
        outcome.stage = "decode"
        if samples.keys[place] in samples.repeated:
            outcome.fault = Rejected(Reason.REPEATED_IMAGE, "the same bytes came before in this data set")
            return False
        alone = batch.narrow_to(place)
        self._start_range(alone)
        try:
            with self.watch.track_work(alone.chunk, alone.range, is_decoding=True):
                outcome.pixels = decode(samples.table["image"][place].as_py(), self.recipe.decode)
        except Rejected as fault:
            outcome.fault = fault
        except MemoryError:
            outcome.fault = Rejected(Reason.DECODE_ERROR, "out of memory")
        else:
            outcome.height, outcome.width = outcome.pixels.shape[:2]
            outcome.fault = find_image_fault(outcome.width, outcome.height, self.recipe.filters)
        if outcome.fault is not None:
            outcome.pixels = None
        return outcome.fault is None

    def _has_input(self, samples: ChunkRows, place: int, outcome: Outcome) -> bool:
        """Returns whether the image has what the engine reads of earlier ones. If not, records the failure."""
        if self.needs_tags and not samples.has_tags(place):
            fault = Rejected(Reason.NO_TAGS, "nothing to look for: the tag engine failed")
        elif self.pool.prompt and (missing := samples.find_missing_input(place, self.pool.prompt)):
            fault = Rejected(Reason.NO_INPUT, f"the prompt needs {missing}, which this image has not got")
        else:
            return True
        self._give_up(outcome, fault)
        return False

    def _annotate(self, samples: ChunkRows, at: ChunkRange, places: Sequence[int], outcomes: list[Outcome]) -> None:
        """Runs the engine on the batch; if it raises, on each image alone, so that one bad image costs no neighbour."""
        if not places:
            return
        assert self.engine is not None
        images = [self._get_pixels(samples, place, outcomes[place]) for place in places] if self.needs_pixels else []
        batch = EngineInput(
            images=images,
            captions=[samples.captions[place] for place in places],
            names=[samples.get_tag_names(place) for place in places] if self.needs_tags else [],
            requests=samples.build_requests(places, images, self.pool.prompt) if self.pool.prompt else [],
        )
        try:
            compute_wait = self.engine.compute_wait_seconds
            wait_seconds = compute_wait(len(places)) if compute_wait else 0.0
            with self.watch.track_work(at.chunk, at.range, wait_seconds=wait_seconds):
                values = self.engine.annotate(batch)
            if len(values) != len(places):
                raise ValueError(f"{len(values)} results for {len(places)} images")
        except EngineUnusable:
            raise
        except Exception as error:  # noqa: BLE001  an engine may raise anything; the row has it
            if len(places) == 1:
                self._give_up(outcomes[places[0]], Rejected(Reason.ENGINE_ERROR, _describe_error(error)))
                return
            for place in places:
                self._annotate(samples, at.narrow_to(place), [place], outcomes)
            return
        for place, value in zip(places, values, strict=True):
            if isinstance(value, Rejected):
                self._give_up(outcomes[place], value)
            else:
                outcomes[place].value = value

    def _get_pixels(self, samples: ChunkRows, place: int, outcome: Outcome) -> RgbImage:
        return samples.get_pixels(place) if outcome.pixels is None else outcome.pixels

    def _give_up(self, outcome: Outcome, fault: Rejected) -> None:
        """Leaves the sample out; where there are other engines, keeps it and records the failure."""
        if self.engine is None or self.pool.is_only_engine:
            outcome.fault, outcome.stage = fault, self.pool.name
        else:
            outcome.failure = fault


def _describe_error(error: Exception) -> str:
    """Returns an engine's exception as the detail of a row: one line of at most 500 characters."""
    return to_one_line(error, limit=500, with_type=True)
