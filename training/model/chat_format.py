"""Defines the texts around the words of a conversation: a chat template that has been split at its turns.

In these texts, the names of special tokens stand for these tokens; in the words between them they never do.
"""

from pydantic import Field, model_validator

from schemas.output_set.options import Options


class TurnTexts(Options):
    """Holds the texts around the words of one role's turn."""

    opening: str = Field("", description="before the words")
    closing: str = Field("", description="after the words; the assistant's is trained on, so that the model stops")


class ChatFormat(Options):
    """Holds the texts around all turns."""

    start: str | None = Field(
        None, description="before the first turn; default: the BOS if the tokenizer begins its texts with one"
    )
    system: TurnTexts | None = Field(
        None, description="without it, a system text and an empty line go before the first words of the user"
    )
    user: TurnTexts
    assistant: TurnTexts
    first_user: str | None = Field(
        None, description="in place of `start` and the user's opening, where no system turn precedes"
    )
    user_after_system: str | None = Field(
        None, description="in place of the user's opening after a system turn; '' where it is part of the user's turn"
    )
    end: str = Field("", description="after the last turn; not trained on")

    @model_validator(mode="after")
    def _check_assistant_closing(self) -> "ChatFormat":
        if not self.assistant.closing:
            raise ValueError("assistant.closing is empty: the model would never learn to end its turn")
        return self
