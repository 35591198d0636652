"""Defines a task file: what is asked, how it is prompted, how an answer is read, and the metric."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from curation.format_strings import parse_format
from curation.scores.answers.registry import METRICS
from curation.tasks.judge_options import JudgeOptions
from schemas.output_set.options import Options, RecipePath

PROMPT_FIELDS = ("question", "choices")
ANSWER_FIELDS = ("answer",)
CHOICE_FIELDS = ("letter", "choice")
MAX_SHOTS = 64


def _check_prompt(text: str) -> str:
    parse_format(text, PROMPT_FIELDS)
    return text


def _check_answer(text: str) -> str:
    parse_format(text, ANSWER_FIELDS)
    return text


def _check_choice(text: str) -> str:
    parse_format(text, CHOICE_FIELDS)
    return text


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

    path: RecipePath = Field(description=".jsonl, .parquet or .tar (a captioned image per sample); may be a glob")
    images: RecipePath | None = Field(
        None, description="the folder or tar with the images that rows name; default: the folder of the file"
    )
    columns: ColumnOptions = ColumnOptions()
    right_choice: Literal["letter", "index", "text"] = Field(
        "letter", description="how a row names the right one of its choices; an index begins at 0"
    )


class DemonstrationOptions(Options):
    """Says what few-shot prompts show before the question."""

    questions: QuestionSetOptions
    pool: PositiveInt = Field(2048, description="random questions to draw from, as in OpenFlamingo")
    seed: int = Field(0, description="draws the pool, and for each question its demonstrations; part of every result")


class QuestionPromptOptions(Options):
    """Says how a question becomes a text. Its images come first unless the text has `<image>`."""

    format: Literal["document", "chat"] = Field(
        "document", description="document: the model continues images and text; chat: it answers a user's turn"
    )
    question: Annotated[str, AfterValidator(_check_prompt)] = Field(
        "{question}", description="fields: question, and choices, one a line"
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

    cut_at: list[str] = Field(
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
    stop: list[str] = Field([], description="texts before which generation ends")
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
        return self
