"""Reads question sets: the rows of their files, joined with their annotations, become questions or are quarantined."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from curation.scores.answers.metric import Metric
from curation.tasks.layouts.layout import FILE, Row
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import Question
from curation.tasks.row_files import read_annotations, read_rows
from curation.tasks.rows import is_of_split, read_question
from schemas.errors import UsageError
from schemas.records.quarantine import QuarantinedRow, Reason, Rejected
from schemas.storage.path_patterns import list_matching

STAGE = "read"
_JOINED_BY = "question_id"


@dataclass(slots=True)
class QuestionSet:
    """Holds the questions of a set, and the rows that are none."""

    questions: list[Question] = field(default_factory=list)
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    other_splits: int = 0
    """Rows of splits that the set does not ask for."""


def read_question_set(options: QuestionSetOptions, metric: Metric) -> QuestionSet:
    """Reads all questions of a set; images by name are not looked up yet.

    A repeated id is quarantined. Raises `UsageError` for a path that is none, and for a set without any question.
    """
    found = QuestionSet()
    for one in _iterate_questions(options, metric):
        if one is None:
            found.other_splits += 1
        elif isinstance(one, Question):
            found.questions.append(one)
        else:
            found.quarantined.append(one)
    if not found.questions:
        number = len(found.quarantined) + found.other_splits
        first = f", the first because {found.quarantined[0].detail}" if found.quarantined else ""
        others = f"; {found.other_splits} are of other splits than {', '.join(options.split)}"
        raise UsageError(
            f"{options.path}: none of its {number} rows is a question{first}{others if found.other_splits else ''}"
        )
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


def _iterate_questions(options: QuestionSetOptions, metric: Metric) -> Iterator[Question | QuarantinedRow | None]:
    """Yields each row as a question, or quarantined with the reason why it is none; None for one of another split."""
    seen = set[str]()
    for number, (key, row) in enumerate(_iterate_rows(options)):
        try:
            if isinstance(row, Rejected):
                raise row
            if not is_of_split(row, options):
                yield None
                continue
            question = read_question(row, number, options, metric)
            if question.id in seen:
                raise Rejected(Reason.DUPLICATE_KEY, f"question {question.id!r} came before")
        except Rejected as fault:
            yield QuarantinedRow.from_rejected(key, None, STAGE, fault)
        else:
            seen.add(question.id)
            yield question


def _iterate_rows(options: QuestionSetOptions) -> Iterator[tuple[str, Row | Rejected]]:
    """Yields the rows of all files as their layout reads them, each with its file and the number of the row there."""
    layout = options.get_layout()
    annotations = None if options.annotations is None else read_annotations(options.annotations, _JOINED_BY)
    number = 0
    for path in list_matching(options.path):
        for row in read_rows(path, layout):
            key = f"{path}#{number}"
            number += 1
            if isinstance(row, Rejected) or not is_of_split(row, options):
                yield key, row
                continue
            try:
                if annotations is not None:
                    uid = row.get(_JOINED_BY)
                    found = annotations.get(uid) if isinstance(uid, int | str) else None
                    if found is None:
                        raise Rejected(Reason.MALFORMED_ROW, f"question {str(uid)[:60]} has no annotation")
                    if isinstance(found, Rejected):
                        raise found
                    row = {**found, **row}
                for one in layout.prepare({**row, FILE: path}) if layout.prepare else (row,):
                    yield key, one
            except Rejected as fault:
                yield key, fault
