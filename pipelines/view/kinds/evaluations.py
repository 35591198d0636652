"""Shows an evaluation of a model: scores with their intervals, and answers, wrong and right, beside their pictures."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation.scores.answers.grounding import GROUNDING, read_box
from curation.scores.answers.registry import METRICS
from curation.scores.answers.scoring import score_each
from curation.tasks.predictions import Predictions
from curation.tasks.question import Question
from pipelines.evaluate.model_scores import read_all_predictions, score_predictions
from pipelines.evaluate.thresholds import FALLING
from pipelines.view.charts import draw_bars, draw_estimates
from pipelines.view.columns.boxes import outline
from pipelines.view.kinds.declaration import SetView
from pipelines.view.options import ViewOptions
from pipelines.view.page import Block, Card, Chip, Chips, Page, Piece, Section, Shape, Text, list_layers, make_text
from pipelines.view.question_pictures import QuestionPictures
from pipelines.view.rows import ChosenRows, choose_rows
from pipelines.view.source import EVALUATION, SetSource
from pipelines.view.thumbnails import Thumbnails
from schemas.errors import UsageError
from schemas.records.box import BOXES_COLUMN

RIGHT, WRONG = "right", "wrong"
LEAST_RIGHT = 0.5  # of a score of which more is better: what ANLS, IoU and accuracy over ten answers take for right

Row = Mapping[str, Any]


def build_page(source: SetSource, options: ViewOptions) -> Page:
    """Returns the page of an evaluation: of each task, as many wrong answers as right ones."""
    if len(options.images) > 1:
        raise UsageError("--images: the questions' images are in one folder or one tar: pass one")
    predictions = read_all_predictions(source.folder.url)
    page = Page(source.folder.url, EVALUATION)
    _draw_scores(page, predictions)
    tables = {
        f"{one.name}/{outcome}": _build_table(one, is_right)
        for one in predictions
        for outcome, is_right in ((WRONG, False), (RIGHT, True))
    }
    choice = choose_rows(list(tables), tables.__getitem__, options, source.folder.url, len(tables))
    chosen = {part.name: part for part in choice.parts}
    thumbnails = Thumbnails(options.max_bytes, choice.shown)
    for one in predictions:
        parts = {outcome: chosen.get(f"{one.name}/{outcome}") for outcome in (WRONG, RIGHT)}
        shown = {row["key"] for part in parts.values() if part is not None for row in part.rows.to_pylist()}
        pictures = QuestionPictures.find(one, shown, options.images)
        page.notes += [note for note in pictures.notes if note not in page.notes]
        for outcome, part in parts.items():
            if part is not None:
                rows = tables[part.name].num_rows
                page.sections.append(_build_section(one, outcome, part, rows, pictures, thumbnails))
    page.layers = list_layers([card for section in page.sections for card in section.cards])
    return page


def _draw_scores(page: Page, predictions: Sequence[Predictions]) -> None:
    """Adds the facts and the charts of all tasks."""
    scores = score_predictions(predictions)
    interval = scores.to_dict()["interval"]
    note = f"with {interval['confidence']:.0%} intervals: {interval['method']}"
    page.facts = [("model", name) for name in dict.fromkeys(one.model for one in scores.tasks)]
    page.facts += [("questions", f"{sum(one.questions for one in scores.tasks):,}")]
    for one in scores.tasks:
        falls = any(name in FALLING for name in one.figures)
        page.charts += draw_estimates(one.name, one.figures, f"{note}{'; less is better' if falls else ''}")
        counts = Counter(one.quarantined) + Counter({"not taken by the model": one.errors, "cut": one.cut})
        page.charts += draw_bars(f"{one.name}: faults", counts, f"of {one.questions:,} questions")


def _build_table(one: Predictions, is_right: bool) -> pa.Table:
    """Returns the predictions that are right, or wrong, with the columns that `--where` may name."""
    scores = score_each(METRICS[one.metric], [row.to_answered() for row in one.rows])
    kept = [
        {name: getattr(row, name) for name in _COLUMNS} | {"key": row.id, "score": score}
        for row, score in zip(one.rows, scores, strict=True)
        if _is_right(one.metric, score) is is_right
    ]
    return pa.Table.from_pylist(kept, _SCHEMA)


def _is_right(metric: str, score: float) -> bool:
    """Returns whether a question's score counts as right. One without a score does where less is better."""
    if FALLING & set(METRICS[metric].figures):
        return not score > 0
    return not math.isnan(score) and score >= LEAST_RIGHT


def _build_section(
    one: Predictions, outcome: str, part: ChosenRows, rows: int, pictures: QuestionPictures, thumbnails: Thumbnails
) -> Section:
    cards = []
    for row in part.rows.to_pylist():
        question = pictures.questions.get(row["key"])
        shapes = _draw_boxes(one.metric, row)
        images = [] if question is None else question.images
        shown = [thumbnails.make(pictures.read(image), row["key"], shapes=shapes) for image in images]
        cards.append(Card(row["key"], (*shown, *_describe_row(row, outcome, question)), _list_facts(row)))
    return Section(f"{one.name}: {outcome}", tuple(cards), f"{len(cards):,} of {rows:,} by {one.metric}")


def _draw_boxes(metric: str, row: Row) -> tuple[Shape, ...]:
    """Returns the right box and that of the answer, where the metric is of boxes."""
    if metric != GROUNDING.name:
        return ()
    texts = [("truth", answer) for answer in row["answers"]] + [(BOXES_COLUMN.name, row["prediction"])]
    found = [(layer, text, box) for layer, text in texts if (box := read_box(text)) is not None]
    return tuple(Shape(number, layer, outline(*box), text) for number, (layer, text, box) in enumerate(found))


def _describe_row(row: Row, outcome: str, question: Question | None) -> list[Block]:
    status = "supported" if outcome == RIGHT else "contradicted"
    blocks: list[Block] = [make_text("Question", row["question"])] if row["question"] else []
    if row["choices"]:
        blocks.append(Chips("Choices", tuple(Chip(choice) for choice in row["choices"])))
    blocks.append(Chips("Right answers", tuple(Chip(answer) for answer in dict.fromkeys(row["answers"]))))
    note = "" if row["is_complete"] else "cut by max_new_tokens"
    if row["error"]:
        blocks.append(make_text("Not answered", row["error"]))
    else:
        blocks.append(Text("Answer", (Piece(row["prediction"], status=status, note=outcome),), note))
    if row["generated"].strip() not in ("", row["prediction"]):
        blocks.append(make_text("As generated", row["generated"]))
    return blocks if question is not None else [*blocks, make_text("", "its question was not found")]


def _list_facts(row: Row) -> tuple[tuple[str, str], ...]:
    score = [] if row["score"] is None or math.isnan(row["score"]) else [("score", f"{row['score']:.2f}")]
    named = [(name, row[name]) for name in ("group", "category") if row[name]]
    return (*score, *named, ("tokens", f"{row['tokens']:,}"))


_COLUMNS = (
    *("question", "answers", "choices", "group", "category", "generated", "prediction", "is_complete", "tokens"),
    *("prompt_tokens", "error"),
)
_TEXTS = pa.list_(pa.string())
_TYPES = {"answers": _TEXTS, "choices": _TEXTS, "is_complete": pa.bool_(), "tokens": pa.int32()}
_TYPES |= {"prompt_tokens": pa.int32()}
_SCHEMA = pa.schema(
    [("key", pa.string()), ("score", pa.float64()), *((name, _TYPES.get(name, pa.string())) for name in _COLUMNS)]
)

VIEW = SetView((EVALUATION,), build_page)
