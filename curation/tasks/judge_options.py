"""Defines how a language model judges the answers of a task, for benchmarks whose own metric is such a judge."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from curation.engines.captions.endpoint_settings import EndpointSettings
from curation.format_strings import parse_format
from schemas.output_set.options import Options

JUDGE_FIELDS = ("question", "choices", "answer", "answers", "prediction")
MAX_CHARACTERS = 20_000  # of a prompt: that of MM-Vet has seven examples


def _check_prompt(text: str) -> str:
    if not any(piece.field == "prediction" for piece in parse_format(text, JUDGE_FIELDS, MAX_CHARACTERS)):
        raise ValueError("it does not show the {prediction}, which is what is judged")
    return text


class JudgeOptions(Options):
    """Says which model judges, what it is asked, and how its verdict is read."""

    engine: Literal["endpoint"] = Field("endpoint", description="an OpenAI-compatible server")
    settings: EndpointSettings = Field(
        description="as of the caption engine `endpoint`: model, base_url, key_variable, ..."
    )
    allow_hosts: list[str] = Field(
        [], description="names of hosts that may be asked although they are on this machine or a private network"
    )
    prompt: Annotated[str, AfterValidator(_check_prompt)] = Field(
        description="fields: question, choices (one a line), answer (the first), answers (one a line), prediction"
    )
    gives: Literal["score", "answer"] = Field(
        "score", description="score: a number from 0 to 1, as in MM-Vet; answer: what the metric then scores: MathVista"
    )
    labels: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="scores by the verdict's first word, for a judge that answers by words or numbers of its own"
    )

    @field_validator("settings")
    @classmethod
    def _check_settings(cls, settings: EndpointSettings) -> EndpointSettings:
        return settings.model_copy(update={"send_image": False})  # what is judged is the text of an answer

    @field_validator("labels", mode="before")
    @classmethod
    def _check_quotes(cls, labels: Any) -> Any:
        if wrong := [label for label in labels if not isinstance(label, str)] if isinstance(labels, dict) else []:
            raise ValueError(f"YAML reads a label as {wrong[0]!r}, not as a text: put all labels in quotes")
        return labels

    @field_validator("labels")
    @classmethod
    def _fold_labels(cls, labels: dict[str, float]) -> dict[str, float]:
        if wrong := [label for label in labels if len(label.split()) != 1]:
            raise ValueError(f"{wrong[0]!r} is not one word")
        return {label.casefold(): score for label, score in labels.items()}
