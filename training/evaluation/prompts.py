"""Formats the shots of a question as the model's training formats documents or conversations."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.inference import Part, build_chat_prompt, build_document_prompt
from training.model.config import PromptOptions
from training.model.generate import Prompt
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class DecodedShot:
    """Holds a question with its decoded images, and the answer after it; None for the one that the model answers."""

    question: list[Part]
    answer: str | None


def format_document(shots: Sequence[DecodedShot], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """Formats the shots as one document, which ends where the last answer begins.

    A demonstration's answer continues the text before it, as one text of a document.
    """
    parts: list[Part] = []
    for shot in shots:
        *before, last = shot.question or [""]
        if isinstance(last, str):
            parts += [*before, *filter(None, [last + (shot.answer or "")])]
        else:
            parts += [*before, last, *filter(None, [shot.answer])]
    return build_document_prompt(parts, tokenizer, prompts)


def format_chat(shots: Sequence[DecodedShot], tokenizer: TextTokenizer, prompts: PromptOptions) -> Prompt:
    """Formats each shot as a user's turn with the assistant's answer; the last one is to be answered."""
    *earlier, last = shots
    turns = [(shot.question, shot.answer or "") for shot in earlier]
    return build_chat_prompt(last.question, tokenizer, prompts, turns)
