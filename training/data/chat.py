"""A conversation in tokens: Phi-3's template, as xGen-MM fine-tunes with, and one for tokenizers without its roles.

    <|system|>\\n ... <|end|>\\n<|user|>\\n ... <|end|>\\n<|assistant|>\\n ... <|end|>\\n

Each piece is tokenised by itself, so that what is learnt (the assistant's words and the end of its turn) is known by
construction, never searched for in a string, and a conversation's length is a sum over its index row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from schemas.records.document import ROLES, Role, speaker
from training.model.tokens import TextTokenizer

Ids = tuple[int, ...]

_NEWLINE = "\n"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What stands around the texts of a conversation."""

    openings: dict[Role, Ids]  # before a turn
    closing: Ids  # after a turn: learnt behind the assistant's, which is how it learns to stop
    after_image: Ids  # sets an image apart from the words that follow
    system: Ids  # a turn of the system, put before conversations that have none; may be empty

    @classmethod
    def of(cls, tokenizer: TextTokenizer, system: str | None) -> "ChatTemplate":
        """By the tokenizer's role markers, if it has all of them; else the roles' names are text."""
        newline = tuple(tokenizer.encode(_NEWLINE))
        markers = {role: tokenizer.special_id(f"<|{role}|>") for role in ROLES}
        if None in markers.values():
            openings = {role: tuple(tokenizer.encode(f"{role.capitalize()}:")) for role in ROLES}
        else:
            openings = {role: (marker, *newline) for role, marker in markers.items() if marker is not None}
        end = tokenizer.special_id("<|end|>")
        closing = (tokenizer.special.end if end is None else end, *newline)
        words = () if system is None else (*openings["system"], *tokenizer.encode(system), *closing)
        return cls(openings, closing, newline, words)

    def opening(self, role: Role) -> Ids:
        """Returns what stands before a turn of this role."""
        return self.openings[speaker(role)]

    def overhead(self, roles: Sequence[Role], images: int) -> int:
        """Tokens of a conversation besides its texts and images."""
        turns = [role for role, _ in groupby(roles)]
        around = sum(len(self.opening(role)) + len(self.closing) for role in turns)
        system = 0 if turns[:1] == ["system"] else len(self.system)
        return system + around + images * len(self.after_image)
