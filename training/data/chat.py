"""Formats a conversation as tokens, by Phi-3's template, as in xGen-MM's fine-tuning, or a plain-text one.

    <|system|>\\n ... <|end|>\\n<|user|>\\n ... <|end|>\\n<|assistant|>\\n ... <|end|>\\n

The plain-text template serves tokenizers that lack Phi-3's role markers. Each piece is tokenised by itself, so that the
tokens to train on (the assistant's words and the end of its turn) are known by construction, never searched for in a
string, and a conversation's length is a sum over its index row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from schemas.records.document import ROLES, Role, get_speaker
from training.model.tokens import TextTokenizer

Ids = tuple[int, ...]

_NEWLINE = "\n"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Holds the tokens around the texts of a conversation."""

    openings: dict[Role, Ids]  # before a turn
    closing: Ids  # after a turn; trained on after the assistant's, so that the model learns to stop
    after_image: Ids  # between an image and the words that follow
    system: Ids  # a system turn for conversations that have none; may be empty

    @classmethod
    def from_tokenizer(cls, tokenizer: TextTokenizer, system: str | None) -> "ChatTemplate":
        """Builds the template from the tokenizer's role markers; unless it has all of them, role names are text.

        `system` is the text of the system turn for conversations that have none; None: no such turn.
        """
        newline = tuple(tokenizer.encode(_NEWLINE))
        markers = {role: tokenizer.find_special_id(f"<|{role}|>") for role in ROLES}
        if None in markers.values():
            openings = {role: tuple(tokenizer.encode(f"{role.capitalize()}:")) for role in ROLES}
        else:
            openings = {role: (marker, *newline) for role, marker in markers.items() if marker is not None}
        end = tokenizer.find_special_id("<|end|>")
        closing = (tokenizer.special.end if end is None else end, *newline)
        words = () if system is None else (*openings["system"], *tokenizer.encode(system), *closing)
        return cls(openings, closing, newline, words)

    def find_opening(self, role: Role) -> Ids:
        """Returns the tokens before a turn of this role."""
        return self.openings[get_speaker(role)]

    def count_overhead(self, roles: Sequence[Role], images: int) -> int:
        """Counts the tokens of a conversation without its texts and images."""
        turns = [role for role, _ in groupby(roles)]
        around = sum(len(self.find_opening(role)) + len(self.closing) for role in turns)
        system = 0 if turns[:1] == ["system"] else len(self.system)
        return system + around + images * len(self.after_image)
