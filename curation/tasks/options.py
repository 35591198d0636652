"""Defines a task file: what is asked, how it is prompted, how an answer is read, and the metric."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from curation.format_strings import parse_format
from curation.scores.answers.registry import METRICS
from curation.tasks.judge_options import JudgeOptions
from curation.tasks.layouts.layout import USUAL, Layout, RightChoice
from curation.tasks.layouts.registry import LAYOUTS
from schemas.output_set.options import Options, RecipePath
from schemas.output_set.recipe_layers import read_merged_recipe
from schemas.output_set.recipe_paths import RelativeToRecipe, anchor_paths

PROMPT_FIELDS = ("question", "choices")
ANSWER_FIELDS = ("answer",)
CHOICE_FIELDS = ("letter", "choice")
MAX_SHOTS = 64


def _check_prompt(text: str | None) -> str | None:
    if text is not None:
        parse_format(text, PROMPT_FIELDS)
    return text


def _check_answer(text: str) -> str:
    parse_format(text, ANSWER_FIELDS)
    return text


def _check_choice(text: str) -> str:
    parse_format(text, CHOICE_FIELDS)
    return text


def _drop_kind(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """Returns a file's values without its kind, if that is the right one.

    It may be left out; but where mappings merge, one with a kind would replace one without.
    """
    return {name: value for name, value in values.items() if (name, value) != ("kind", kind)}


class ColumnOptions(Options):
    """Names the columns of a question file. Where one is not named, the usual names are looked for in order."""

    id: str | None = Field(None, description="question_id, id, index or key; else the number of the row")
    question: str | None = Field(
        None, description="question, prompt or text; else no question is asked, as for captions"
    )
    answers: str | None = Field(
        None, description="answers, answer, captions, caption, references or label: a text, a number, or a list of them"
    )
    choices: str | list[str] | None = Field(
        None, description="choices or options: a column with a list, or a list of columns; else A, B, C, ... if present"
    )
    images: str | None = Field(None, description="image or images, else the first column that is named like one")
    group: str | None = Field(None, description="questions with the same value are drawn together in a bootstrap")
    category: str | None = Field(None, description="category, which MME averages over")


class QuestionSetOptions(Options):
    """Says where questions are, and how their rows are read."""

    path: RecipePath = Field(
        description=".jsonl, .tsv, .parquet, .tar (a captioned image per sample), or what the layout has; may be a glob"
    )
    layout: str | None = Field(None, description="a benchmark whose published columns and files these are")
    annotations: RecipePath | None = Field(None, description="vqav2, okvqa: the .json file with the answers")
    split: list[str] = Field(
        [], description="splits whose rows are the set, where a file has several, such as COCO's; default: all"
    )
    images: RecipePath | None = Field(
        None, description="the folder or tar with the images that rows name; default: the folder of the file"
    )
    columns: ColumnOptions = ColumnOptions()
    right_choice: RightChoice | None = Field(
        None, description="how a row names the right one of its choices; an index begins at 0; default: a letter"
    )

    @model_validator(mode="after")
    def _check_layout(self) -> "QuestionSetOptions":
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ValueError(f"there is no layout {self.layout!r}, only {', '.join(LAYOUTS)}")
        if self.annotations is not None and not self.get_layout().has_annotations:
            named = [name for name, layout in LAYOUTS.items() if layout.has_annotations]
            raise ValueError(f"annotations are for the layouts {' and '.join(named)}")
        return self

    def get_layout(self) -> Layout:
        """Returns the layout of the rows: that of a benchmark, or columns with the usual names."""
        return USUAL if self.layout is None else LAYOUTS[self.layout]


class DemonstrationOptions(Options):
    """Says what few-shot prompts show before the question."""

    questions: QuestionSetOptions
    pool: PositiveInt = Field(2048, description="random questions to draw from, as in OpenFlamingo")
    seed: int = Field(0, description="draws the pool, and for each question its demonstrations; part of every result")
    full_resolution: NonNegativeInt | None = Field(
        None,
        description="demonstrations, the last before the question, that a model of any resolution sees in tiles; of "
        "those before it sees thumbnails, so that more fit: MM1's mixed resolution; default: all",
    )


class QuestionPromptOptions(Options):
    """Says how a question becomes a text. Its images come first unless the text has `<image>`."""

    format: Literal["document", "chat"] = Field(
        "document", description="document: the model continues images and text; chat: it answers a user's turn"
    )
    question: Annotated[str, AfterValidator(_check_prompt)] = Field(
        "{question}", description="fields: question, and choices, one a line"
    )
    without_choices: Annotated[str | None, AfterValidator(_check_prompt)] = Field(
        None, description="the same for a question that has no choices, in sets where others have some"
    )
    answer: Annotated[str, AfterValidator(_check_answer)] = Field(
        " {answer}", description="what follows the question in a demonstration of a document, and begins each choice"
    )
    choice: Annotated[str, AfterValidator(_check_choice)] = Field("{letter}. {choice}", description="one choice")
    text_only_shots: NonNegativeInt = Field(
        0, description="demonstrations without their images in a 0-shot prompt: OpenFlamingo has 2, MM1 none"
    )


class ReadOutOptions(Options):
    """Says which part of a generated text is the answer. White space around it is left out."""

    cut_at: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="texts before which the answer ends; in OpenFlamingo Question, Answer, Short"
    )
    remove: list[str] = Field([], description="texts to leave out, such as quotation marks")

    def read(self, text: str) -> str:
        """Returns the answer in a generated text."""
        text = text.strip()
        for end in self.cut_at:
            text = text.partition(end)[0]
        for part in self.remove:
            text = text.replace(part, "")
        return text.strip()


class TaskOptions(Options):
    """Describes an evaluation task."""

    kind: ClassVar[str] = "task"
    name: str = Field("", max_length=100, pattern=r"^[\w.-]*$", description="default: the task file's name")
    questions: QuestionSetOptions
    demonstrations: DemonstrationOptions | None = None
    shots: list[Annotated[int, Field(ge=0, le=MAX_SHOTS)]] = Field(
        [0], min_length=1, description="numbers of demonstrations; each is an evaluation of its own"
    )
    limit: PositiveInt | None = Field(None, description="questions to take, at random by `seed`; default: all")
    seed: int = Field(0, description="draws the questions of a `limit`")
    prompt: QuestionPromptOptions = QuestionPromptOptions()
    answer_by: Literal["generation", "perplexity"] = Field(
        "generation", description="perplexity: the choice that the model finds likeliest by token is its answer"
    )
    max_new_tokens: PositiveInt = Field(20, description="of an answer, as OpenFlamingo's captions")
    beams: PositiveInt = Field(
        1, description="beams of a search for the likeliest answer by token; 1: the likeliest token each time"
    )
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="texts before which generation ends")
    read_out: ReadOutOptions = ReadOutOptions()
    metric: str
    judge: JudgeOptions | None = Field(
        None, description="a language model that judges the answers; without it the metric's rule alone"
    )

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"there is no metric {name!r}, only {', '.join(METRICS)}")
        return name

    @model_validator(mode="after")
    def _check_demonstrations(self) -> "TaskOptions":
        needed = max(self.shots) > 0 or self.prompt.text_only_shots > 0
        if needed and self.demonstrations is None:
            raise ValueError("demonstrations: shots need a set of questions to draw from, of a training split")
        if self.answer_by == "perplexity" and not METRICS[self.metric].has_choices:
            raise ValueError("answer_by: perplexity is for metrics of choices: multiple_choice")
        if self.answer_by == "perplexity" and self.beams > 1:
            raise ValueError("beams: answer_by: perplexity generates no answer: leave out one of the two")
        return self

    @classmethod
    def read_file(cls, path: str) -> dict[str, Any]:
        """Reads a task file and its bases. Returns the values, with paths from the working folder."""
        return read_merged_recipe(path, cls._anchor)

    @classmethod
    def _anchor(cls, values: dict[str, Any], path: str) -> dict[str, Any]:
        return _drop_kind(anchor_paths(values, cls, path), cls.kind)


class TaskListOptions(Options):
    """Lists tasks that are evaluated together, such as the columns of a table."""

    kind: ClassVar[str] = "tasks"
    tasks: Annotated[list[str], RelativeToRecipe()] = Field(min_length=1, description="task files")
    each: dict[str, Any] = Field({}, description="options of every task in place of its own, such as shots: [0, 8]")

    @classmethod
    def read_file(cls, path: str) -> dict[str, Any]:
        """Reads a list of tasks and its bases. Returns the values, with paths from the working folder."""
        return read_merged_recipe(path, cls._anchor)

    @classmethod
    def _anchor(cls, values: dict[str, Any], path: str) -> dict[str, Any]:
        found = _drop_kind(anchor_paths(values, cls, path), cls.kind)
        each = found.get("each")
        return found | {"each": anchor_paths(each, TaskOptions, path)} if isinstance(each, dict) else found
