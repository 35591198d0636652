"""Defines how a benchmark declares its published layouts: the columns of its rows, and the files that hold them.

Benchmarks publish one set in several forms: their own JSON, TSV files with images in base64 (VLMEvalKit), and Parquet
files with images as `{bytes, path}` (lmms-eval). One declaration reads them all, because it names the columns of all
forms, and the first that has a value is taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from curation.scores.answers.choice import LETTERS

Row = Mapping[str, Any]

FILE = "<file>"
"""The column that `Layout.prepare` finds the path of a row's file in; no published column has such a name."""

RightChoice = Literal["letter", "index", "text"]
"""How a row names the right one of its choices; an index begins at 0."""

Items = Callable[[BinaryIO], Iterator[Any]]
"""Yields the rows of a file, or a `Rejected` in place of one. Raises `UsageError`; the caller adds the file's name."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Names the columns that may hold each part of a question. The defaults are the usual names."""

    id: tuple[str, ...] = ("question_id", "questionId", "id", "index", "key")
    question: tuple[str, ...] = ("question", "prompt", "text")
    answers: tuple[str, ...] = ("answers", "answer", "captions", "caption", "references", "label")
    choices: tuple[str, ...] = ("choices", "options")  # with all choices
    choice_columns: tuple[str, ...] = tuple(LETTERS)  # with one choice each
    images: tuple[str, ...] | None = None  # with all images; None: image or images, else the first named like one
    image_columns: tuple[str, ...] = ()  # with one image each, of which a question shows all
    image_name: str = "{}"  # the file of an image that a row gives by a name or a number
    category: tuple[str, ...] = ("category",)
    group: tuple[str, ...] = ()
    split: tuple[str, ...] = ("split",)
    right_choice: tuple[RightChoice, ...] = ("letter",)


@dataclass(frozen=True, slots=True)
class Layout:
    """Declares a benchmark by the name that a task file gives as `questions.layout`."""

    name: str
    fields: Fields = Fields()
    items: Mapping[str, Items] = field(default_factory=dict)
    """Readers of files by their ending, for those that are no table (.jsonl, .tsv, .parquet)."""
    prepare: Callable[[Row], Iterable[Row]] | None = None
    """Returns the rows that a row of a file stands for, where columns alone do not say it. Raises `Rejected`."""
    has_annotations: bool = False
    """Whether the answers are in a second file, `questions.annotations`, in rows with the same `question_id`."""
    needs_question: bool = True
    needs_image: bool = True
    """Whether a row without an image is none of the benchmark's questions."""


USUAL = Layout("", needs_question=False, needs_image=False)
"""Reads tables whose columns have the usual names, as harnesses publish them."""
