"""Stores the predictions of a task: a row for each question, from which all scores can be computed again."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.leaks.leak import Leak
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.registry import METRICS
from schemas.errors import UsageError
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, open_parquet, read_table

_KEY = b"shardloom"  # of the file's metadata
_TEXTS = pa.list_(pa.string())
_LEAKS = pa.list_(
    pa.struct(
        [
            ("set", pa.string()),
            ("key", pa.string()),
            ("distance", pa.int32()),
            ("share", pa.float64()),
            ("is_short", pa.bool_()),
        ]
    )
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("answers", _TEXTS, nullable=False),
        pa.field("choices", _TEXTS, nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("demonstrations", _TEXTS, nullable=False),  # their ids, in order
        pa.field("generated", pa.string(), nullable=False),  # as the model wrote it
        pa.field("prediction", pa.string(), nullable=False),  # the answer read out of it, or the likeliest choice
        pa.field("is_complete", pa.bool_(), nullable=False),  # false where the limit of new tokens cut it
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("choice_losses", pa.list_(pa.float64()), nullable=False),  # mean loss by token, in nats
        pa.field("error", pa.string(), nullable=False),  # why there is no prediction; empty where there is one
        pa.field("judge", pa.string(), nullable=False),  # the name of the model that judged it; empty where none did
        pa.field("verdict", pa.string(), nullable=False),  # as the judge wrote it
        pa.field("verdict_score", pa.float64()),  # 0 to 1, as it was read; null where the judge gives none
        pa.field("judge_error", pa.string(), nullable=False),  # why there is no verdict; empty where there is one
        pa.field("leaks", _LEAKS, nullable=False),  # samples of training sets that show the question, some of many
    ]
)

_GREW = "leaks"  # a column whose objects have fewer fields in older files
_FIRST_COLUMNS = SCHEMA.names[: SCHEMA.names.index("judge")]  # which files of all versions have


@dataclass(frozen=True, slots=True)
class Prediction:
    """Holds one row, as `SCHEMA` describes it."""

    id: str
    question: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    group: str
    category: str
    demonstrations: tuple[str, ...]
    generated: str = ""
    prediction: str = ""
    is_complete: bool = False
    prompt_tokens: int = 0
    tokens: int = 0
    choice_losses: tuple[float, ...] = ()
    error: str = ""
    judge: str = ""
    verdict: str = ""
    verdict_score: float | None = None
    judge_error: str = ""
    leaks: tuple[Leak, ...] = ()

    def to_answered(self) -> AnsweredQuestion:
        """Returns what a metric looks at."""
        return AnsweredQuestion(
            self.id,
            self.answers,
            self.prediction,
            self.choices,
            self.group,
            self.category,
            self.verdict_score,
            is_answered=not self.error,
        )


@dataclass(frozen=True, slots=True)
class Predictions:
    """Holds the predictions of one task with one number of demonstrations."""

    task: str
    shots: int
    metric: str
    about: Mapping[str, Any]  # the model, the task's options, the seeds
    rows: list[Prediction]
    reasons: Mapping[str, int] = field(default_factory=dict)  # of the rows that are no questions, by reason

    @property
    def name(self) -> str:
        """Returns a name for files and tables."""
        return f"{self.task}-{self.shots}shot"


def encode_predictions(predictions: Predictions) -> bytes:
    """Returns a Parquet file; the same predictions give the same bytes."""
    about = asdict(predictions) | {"rows": None}
    table = pa.Table.from_pylist([asdict(row) for row in predictions.rows], SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)}), sink, compression="zstd")
    return sink.getvalue()


def read_predictions(folder: Folder, name: str) -> Predictions:
    """Reads a file of predictions. Raises `UsageError` for any other."""
    path = folder.resolve_path(name)
    data = io.BytesIO(folder.read(name))
    try:
        schema = open_parquet(data, path).schema
        about = json.loads((schema.metadata or {})[_KEY])
        held = [one for one in SCHEMA if one.name in _FIRST_COLUMNS or one.name in schema.names]
        held = [schema.field(one.name) if one.name == _GREW else one for one in held]
        rows = read_table(data, [one.name for one in held], path).cast(pa.schema(held)).to_pylist()
        found = Predictions(**about | {"rows": [_read_row(row) for row in rows]})
    except (KeyError, ValueError, TypeError, pa.ArrowException, UnreadableParquet):
        raise UsageError(f"{path} holds no predictions of `evaluate model`") from None
    if found.metric not in METRICS:
        raise UsageError(f"{path} is scored by {found.metric}, which this version does not know")
    return found


def _read_row(row: Mapping[str, Any]) -> Prediction:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    values["leaks"] = tuple(Leak(**leak) for leak in values.get("leaks", ()))
    return Prediction(**values)
