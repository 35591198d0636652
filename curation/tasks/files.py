"""Reads the files of question sets: lines of JSON, Parquet as harnesses publish it, and tars of captioned images."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from curation.scores.answers.metric import Metric
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import Question
from curation.tasks.rows import read_question
from schemas.errors import UsageError, to_one_line
from schemas.json_text import MAX_JSON, parse_object
from schemas.records.quarantine import QuarantinedRow, Reason, Rejected
from schemas.storage.folder import split_path
from schemas.storage.parquet import UnreadableParquet, iterate_batches, open_parquet
from schemas.storage.path_patterns import list_matching
from schemas.storage.row_objects import iterate_rows
from schemas.tar.reader import TarReader

STAGE = "read"
_IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_BATCH_ROWS = 64

Row = Mapping[str, Any]


@dataclass(slots=True)
class QuestionSet:
    """Holds the questions of a set, and the rows that are none."""

    questions: list[Question] = field(default_factory=list)
    quarantined: list[QuarantinedRow] = field(default_factory=list)


def read_question_set(options: QuestionSetOptions, metric: Metric) -> QuestionSet:
    """Reads all questions of a set; images by name are not looked up yet.

    A repeated id is quarantined. Raises `UsageError` for a path that is none, and for a set without any question.
    """
    found = QuestionSet()
    for one in _iterate_questions(options, metric):
        if isinstance(one, Question):
            found.questions.append(one)
        else:
            found.quarantined.append(one)
    number = len(found.questions) + len(found.quarantined)
    if not found.questions:
        first = f", the first because {found.quarantined[0].detail}" if found.quarantined else ""
        raise UsageError(f"{options.path}: none of its {number} rows is a question{first}")
    return found


def find_questions(options: QuestionSetOptions, metric: Metric, ids: Collection[str]) -> dict[str, Question]:
    """Returns the questions with these ids, as far as the set has them, without the images of others in memory."""
    found: dict[str, Question] = {}
    for one in _iterate_questions(options, metric):
        if isinstance(one, Question) and one.id in ids:
            found[one.id] = one
        if len(found) == len(ids):
            break
    return found


def _iterate_questions(options: QuestionSetOptions, metric: Metric) -> Iterator[Question | QuarantinedRow]:
    """Yields each row as a question, or quarantined with the reason why it is none."""
    seen, number = set[str](), 0
    for path in list_matching(options.path):
        for row in _find_reader(path)(path):
            try:
                if isinstance(row, Rejected):
                    raise row
                question = read_question(row, number, options, metric)
                if question.id in seen:
                    raise Rejected(Reason.DUPLICATE_KEY, f"question {question.id!r} came before")
                seen.add(question.id)
                yield question
            except Rejected as fault:
                yield QuarantinedRow.from_rejected(f"{path}#{number}", None, STAGE, fault)
            number += 1


def _find_reader(path: str) -> Callable[[str], Iterator[Row | Rejected]]:
    for ending, read in _READERS.items():
        if path.endswith(ending):
            return read
    raise UsageError(f"{path}: questions are read from {', '.join(_READERS)} files")


def _read_json_lines(path: str) -> Iterator[Row | Rejected]:
    folder, name = split_path(path)
    for line in folder.read(name).splitlines():
        if line.strip():
            try:
                yield parse_object(line, "the line", MAX_JSON)
            except ValueError as error:
                yield Rejected(Reason.MALFORMED_ROW, str(error))


def _read_parquet(path: str) -> Iterator[Row | Rejected]:
    folder, name = split_path(path)
    try:
        with folder.open(name) as file:
            for batch in iterate_batches(open_parquet(file, path), _BATCH_ROWS):
                for at in range(batch.num_rows):
                    try:
                        yield from iterate_rows(batch.slice(at, 1))
                    except ValueError as error:  # text that is not UTF-8, or lists without end
                        yield Rejected(Reason.MALFORMED_ROW, to_one_line(error))
    except (UnreadableParquet, pa.ArrowException) as error:
        raise UsageError(f"{path} can't be read: {to_one_line(error)}") from None


def _read_tar(path: str) -> Iterator[Row | Rejected]:
    """Yields the samples of a tar of images with captions: the caption is the answer, and there is no question."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        for sample in TarReader(file, hashing=False):
            if sample.fault is not None:
                yield sample.fault
                continue
            images = [member.data for ending, member in sample.members.items() if ending in _IMAGE_ENDINGS]
            if not images:
                yield Rejected(Reason.MISSING_IMAGE, f"{sample.key} has no image")
                continue
            caption = sample.members.get("txt")
            yield {"id": sample.key, "image": images[0], "answers": None if caption is None else caption.data}


_READERS = {".jsonl": _read_json_lines, ".parquet": _read_parquet, ".tar": _read_tar}
