"""Formats a conversation as tokens, by the tokenizer's chat template or by the recipe's.

A tokenizer without a template has Phi-3's, as in xGen-MM's fine-tuning, if it has Phi-3's role markers, else a
plain-text one with the names of roles:

    <|system|>\\n ... <|end|>\\n<|user|>\\n ... <|end|>\\n<|assistant|>\\n ... <|end|>\\n

Each piece is tokenised by itself, so that the tokens to train on (the assistant's words and the end of its turn) are
known by construction, never searched for in a string, and a conversation's length is a sum over its index row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from schemas.errors import UsageError
from schemas.records.document import ROLES, Role, get_speaker
from training.model.chat_format import ChatFormat, TurnTexts
from training.model.config import PromptOptions
from training.model.tokens import TextTokenizer

Ids = tuple[int, ...]

_NEWLINE = "\n"
_WORD = "a"  # stands for the words that a text follows
_AFTER_MERGED_SYSTEM = "\n\n"  # between a system text and the user's words in one turn, as Gemma 3 and Mistral have it


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """Holds the tokens around the texts of a conversation, by the speaker of a turn."""

    beginnings: dict[Role, Ids]  # before the words of the first turn; includes a system turn where there is none
    openings: dict[Role, Ids]  # before the words of any other turn
    closings: dict[Role, Ids]  # after the words; the assistant's is trained on, so that the model learns to stop
    after_system: Ids  # before the words of a user turn that follows a system turn
    after_image: Ids  # between an image and the words that follow
    end: Ids  # after the last turn
    fingerprint: str  # of all that a conversation's tokens depend on
    note: str  # what a user may not expect of the format; may be empty

    @classmethod
    def from_prompts(cls, tokenizer: TextTokenizer, prompts: PromptOptions) -> "ChatTemplate":
        """Builds the template that the options describe. Raises `UsageError` when there is none."""
        if prompts.template_fault is not None:
            raise UsageError(prompts.template_fault)
        if prompts.template is not None:
            return _build_from_format(tokenizer, prompts.template, prompts)
        return _build_from_markers(tokenizer, prompts)

    def find_opening(self, previous: Role | None, role: Role) -> Ids:
        """Returns the tokens before a turn's words, behind a turn of the role `previous`; None: it is the first."""
        speaker = get_speaker(role)
        if previous is None:
            return self.beginnings[speaker]
        return self.after_system if (previous, speaker) == ("system", "user") else self.openings[speaker]

    def find_closing(self, role: Role) -> Ids:
        """Returns the tokens after a turn's words."""
        return self.closings[get_speaker(role)]

    def count_overhead(self, roles: Sequence[Role], images: int) -> int:
        """Counts the tokens of a conversation without its texts and images."""
        counter = TurnCounter(self)
        for role, _ in groupby(roles):
            counter.add(role, 0)
        return counter.length + images * len(self.after_image)


class TurnCounter:
    """Counts the tokens of a conversation, part by part. A turn is a run of parts with the same role."""

    def __init__(self, chat: ChatTemplate) -> None:
        self._chat = chat
        self._role: Role | None = None
        self._length = 0

    def add(self, role: Role, tokens: int) -> None:
        """Adds the tokens of one part."""
        if role != self._role:
            closing = () if self._role is None else self._chat.find_closing(self._role)
            self._length += len(closing) + len(self._chat.find_opening(self._role, role))
            self._role = role
        self._length += tokens

    @property
    def length(self) -> int:
        """Returns the length if the last part added is the conversation's last."""
        closing = () if self._role is None else self._chat.find_closing(self._role)
        return self._length + len(closing) + len(self._chat.end)


def find_document_bos(tokenizer: TextTokenizer, prompts: PromptOptions) -> Ids:
    """Returns the BOS of samples that are no conversations, if they have one."""
    wanted = tokenizer.adds_bos if prompts.bos == "auto" else prompts.bos
    return (tokenizer.bos,) if wanted and tokenizer.bos is not None else ()


def _build_from_markers(tokenizer: TextTokenizer, prompts: PromptOptions) -> ChatTemplate:
    """Builds the template from the tokenizer's role markers; unless it has all of them, role names are text."""
    newline, bos, note = tuple(tokenizer.encode(_NEWLINE)), find_document_bos(tokenizer, prompts), ""
    markers = {role: tokenizer.find_special_id(f"<|{role}|>") for role in ROLES}
    if None in markers.values():
        openings = {role: tuple(tokenizer.encode(f"{role.capitalize()}:")) for role in ROLES}
        note = "the tokenizer has no chat template: turns begin with User: and Assistant:; data.template sets others"
    else:
        openings = {role: (marker, *newline) for role, marker in markers.items() if marker is not None}
    end = tokenizer.find_special_id("<|end|>")
    closing = (tokenizer.special.end if end is None else end, *newline)
    system = () if prompts.system is None else (*openings["system"], *tokenizer.encode(prompts.system), *closing)
    # without a BOS, as tables and runs name it that were made when this was the only template
    fingerprint = f"ChatTemplate({openings=}, {closing=}, after_image={newline}, {system=})" + f" {bos=}" * bool(bos)
    return ChatTemplate(
        beginnings={role: (*bos, *(() if role == "system" else system), *openings[role]) for role in ROLES},
        openings=openings,
        closings=dict.fromkeys(ROLES, closing),
        after_system=openings["user"],
        after_image=newline,
        end=(),
        fingerprint=fingerprint,
        note=note,
    )


def _build_from_format(tokenizer: TextTokenizer, texts: ChatFormat, prompts: PromptOptions) -> ChatTemplate:
    """Builds the template from texts; without a system turn, its words go into the user's first turn."""
    bos, user, start = find_document_bos(tokenizer, prompts), texts.user.opening, texts.start
    if start is None:
        start = tokenizer.find_name(bos[0]) if bos else ""
    first_user = start + user if texts.first_user is None else texts.first_user
    if texts.system is None:
        system, after_system = TurnTexts(opening=user, closing=_AFTER_MERGED_SYSTEM), ""
        first_system = first_user
    else:
        system, after_system = texts.system, user if texts.user_after_system is None else texts.user_after_system
        first_system = start + system.opening
    turns = {"system": system, "user": texts.user, "assistant": texts.assistant}
    firsts = {"system": first_system, "user": first_user, "assistant": start + texts.assistant.opening}

    def encode(text: str, before: str = "", precedes_words: bool = True) -> Ids:
        ids = tuple(tokenizer.encode_markup(text, before, precedes_words))
        if tokenizer.special.image in ids:
            raise UsageError(f"chat template: {text!r} has the token of an image; write data.template without it")
        return ids

    beginnings = {role: encode(firsts[role]) for role in ROLES}
    befores = {"system": "assistant", "user": "assistant", "assistant": "user"}
    openings = {role: encode(turns[role].opening, _WORD + turns[befores[role]].closing) for role in ROLES}
    closings = {role: encode(turns[role].closing, _WORD, False) for role in ROLES}
    behind_system = encode(after_system, _WORD + system.closing)
    if prompts.bos != "auto" and tokenizer.bos is not None:
        beginnings = {role: (*bos, *ids[ids[:1] == (tokenizer.bos,) :]) for role, ids in beginnings.items()}
    if prompts.system is not None:
        lead = (*beginnings["system"], *tokenizer.encode(prompts.system), *closings["system"])
        beginnings |= {"user": (*lead, *behind_system), "assistant": (*lead, *openings["assistant"])}
    after_image = tuple(tokenizer.encode(_NEWLINE))
    end = encode(texts.end, _WORD + texts.assistant.closing, False)
    if not closings["assistant"]:
        raise UsageError("data.template: assistant.closing gives no token, so a model would never stop; name one")
    return ChatTemplate(
        beginnings=beginnings,
        openings=openings,
        closings=closings,
        after_system=behind_system,
        after_image=after_image,
        end=end,
        fingerprint=f"{beginnings=} {openings=} {closings=} {behind_system=} {after_image=} {end=}",
        note="" if texts.system else "the chat template has no system turn: its words go before the user's first ones",
    )
