"""Reads published files as tasks do."""

from pathlib import Path
from typing import Any

from curation.scores.answers.registry import METRICS
from curation.tasks.files import QuestionSet, read_question_set
from curation.tasks.options import QuestionSetOptions
from tests.curation.tasks.support.json_rows import Row
from tests.curation.tasks.support.published import write_json, write_parquet, write_published, write_tsv


def read(path: Path, layout: str | None, metric: str, **options: Any) -> QuestionSet:
    values = {"path": str(path), "layout": layout} | options
    return read_question_set(QuestionSetOptions.model_validate(values), METRICS[metric])


def read_published(folder: Path, layout: str, name: str, metric: str, **options: Any) -> QuestionSet:
    """What the published file of this name gives."""
    write_published(layout, folder / name)
    return read(folder / name, layout, metric, **options)


def read_rows(folder: Path, layout: str, name: str, rows: list[Row], metric: str, **options: Any) -> QuestionSet:
    """What a file of these rows gives."""
    path = folder / name
    if path.suffix == ".json":
        write_json(layout, path, rows)
    elif path.suffix == ".tsv":
        write_tsv(path, rows)
    else:
        write_parquet(path, rows)
    return read(path, layout, metric, **options)


def list_faults(found: QuestionSet) -> list[tuple[str, str]]:
    """The reasons and details of the rows that are no questions."""
    return [(row.reason, row.detail) for row in found.quarantined]
