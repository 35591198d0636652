"""Looks for the questions of tasks in training sets, for `shardloom evaluate model --leaks`.

The questions are held in memory, and the sets are read once, sample by sample, whatever their size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from curation.images.decode import DecodeLimits, RgbImage, decode
from curation.leaks.finder import ComparedSample, LeakFinder, QuestionLeaks
from curation.leaks.leak import Leak
from curation.mixture.reader import ShardFiles, ShardSample, build_record, to_index_rows
from curation.mixture.sources import SourceShard, open_set, read_index
from curation.scores.answers.metric import Metric
from curation.tasks.images import QuestionImages
from curation.tasks.question import Question
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.layouts.blip3_ocr import parse_captions
from schemas.records.captioned_image import CaptionedImage
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder

SAMPLES_AT_ONCE = 32  # read and compared together: some tens of megabytes

_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True)
class ComparedTask:
    """Holds what is compared of a task."""

    metric: Metric
    questions: Sequence[Question]
    images: QuestionImages


@dataclass(frozen=True, slots=True)
class FoundLeaks:
    """Holds the leaks of one task's questions by their id, what they were looked for in, and what was not compared."""

    questions: dict[str, list[Leak]]
    about: dict[str, Any]


def find_leaks(tasks: Sequence[ComparedTask], sets: Sequence[str]) -> list[FoundLeaks]:
    """Compares all samples of the training sets with each task's questions. Raises `UsageError` for a wrong set."""
    shards = [(place, shard) for place in sets for shard in open_training_set(place)]
    finder = LeakFinder(_list_compared(task, question) for task in tasks for question in task.questions)
    with Progress("evaluate: looking for leaks", sum(shard.data.rows for _, shard in shards), "samples") as progress:
        files = ShardFiles()
        try:
            for place, shard in shards:
                for samples in _read_samples(files, shard):
                    finder.look_at(place, [_make_compared(shard, sample) for sample in samples])
                    progress.items += len(samples)
                    progress.advance(len(samples))
        finally:
            files.close()
    waiting = iter(finder.questions)
    return [_describe(task, list(islice(waiting, len(task.questions))), sets, finder) for task in tasks]


def _describe(
    task: ComparedTask, found: Sequence[QuestionLeaks], sets: Sequence[str], finder: LeakFinder
) -> FoundLeaks:
    about = {
        "sets": list(sets),
        **asdict(finder.counts),
        "questions_without_images": sum(not one.has_images for one in found),
        "questions_without_texts": sum(not one.has_texts for one in found),
        "questions_with_short_texts": sum(one.has_short_texts for one in found),
    }
    return FoundLeaks({asked.id: one.leaks for asked, one in zip(task.questions, found, strict=True)}, about)


def open_training_set(place: str) -> list[SourceShard]:
    """Opens a finished set of training shards. Raises `UsageError` for any other folder."""
    if not Folder(place).exists():
        raise UsageError(f"--leaks: there is no folder {place}: pass a set of training shards")
    try:
        shards, _ = open_set(place, {})
    except UsageError as error:
        raise UsageError(f"--leaks: {error}") from None
    if not sum(shard.data.rows for shard in shards):
        raise UsageError(f"--leaks: there is no sample in {place}: pass a set of training shards")
    return shards


def _list_compared(task: ComparedTask, question: Question) -> tuple[list[RgbImage], list[str]]:
    """Returns the images of a question that can be decoded, and its texts.

    The question with its choices is a text, and each answer is one, as captions are.
    """
    answers = () if task.metric.has_choices else question.answers
    return _decode_images(question, task.images), [" ".join([question.text, *question.choices]), *answers]


def _decode_images(question: Question, images: QuestionImages) -> list[RgbImage]:
    found = []
    for image in question.images:
        try:
            found.append(decode(images.read(image), _LIMITS))
        except Rejected:  # it is quarantined when the model is asked
            continue
    return found


def _read_samples(files: ShardFiles, shard: SourceShard) -> Iterator[list[ShardSample]]:
    index = read_index(shard, locating=bool(shard.image_folders))
    index = index.append_column("path", pa.array([shard.path] * index.num_rows))
    index = index.append_column("row", pa.array(np.arange(index.num_rows)))
    for start in range(0, index.num_rows, SAMPLES_AT_ONCE):
        yield files.read(to_index_rows(index.slice(start, SAMPLES_AT_ONCE)))


def _make_compared(shard: SourceShard, sample: ShardSample) -> ComparedSample:
    record = build_record(sample.row, sample.members, sample.row["key"])
    key = f"{shard.data.path}/{record.key}"
    if isinstance(record, CaptionedImage):
        return ComparedSample(key, [record.image], "\n".join([record.text, record.alt_text, *_list_captions(record)]))
    return ComparedSample(
        key, [image.data for image in record.images], "\n".join(part for part in record.parts if isinstance(part, str))
    )


def _list_captions(record: CaptionedImage) -> list[str]:
    """Returns the captions that a trainer may take in place of the text."""
    try:
        return [caption.text for caption in parse_captions(record.captions)]
    except ValueError:
        return []
