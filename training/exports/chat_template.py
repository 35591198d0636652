"""Writes the chat template of an export, as Jinja: the texts that training put around turns and images."""

import json
from collections.abc import Iterable, Mapping

from schemas.records.document import ROLES, Role
from training.data.chat import ChatTemplate
from training.model.config import PromptOptions
from training.model.tokens import IMAGE, TextTokenizer

_TEMPLATE = """\
{{%- set beginnings = {{{beginnings}}} -%}}
{{%- set openings = {{{openings}}} -%}}
{{%- set closings = {{{closings}}} -%}}
{{%- set turn = namespace(previous=none) -%}}
{{%- for message in messages -%}}
{{%- if message.role not in openings -%}}
{{{{ raise_exception("there is no role " ~ message.role ~ ": use system, user or assistant") }}}}
{{%- endif -%}}
{{%- if turn.previous is none -%}}
{{{{ beginnings[message.role] }}}}
{{%- elif turn.previous != message.role -%}}
{{{{ closings[turn.previous] }}}}
{{%- if turn.previous == "system" and message.role == "user" -%}}
{{{{ {after_system} }}}}
{{%- else -%}}
{{{{ openings[message.role] }}}}
{{%- endif -%}}
{{%- endif -%}}
{{%- if message.content is string -%}}
{{{{ message.content | trim }}}}
{{%- else -%}}
{{%- for part in message.content -%}}
{{%- if part.type == "image" -%}}
{{{{ {image} }}}}
{{%- elif part.type == "text" -%}}
{{{{ part.text | trim }}}}
{{%- else -%}}
{{{{ raise_exception("there is no part of type " ~ part.type ~ ": use text or image") }}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endif -%}}
{{%- set turn.previous = message.role -%}}
{{%- endfor -%}}
{{%- if turn.previous is not none -%}}
{{{{ closings[turn.previous] }}}}
{{%- endif -%}}
{{%- if add_generation_prompt -%}}
{{{{ openings["assistant"] if turn.previous is not none else beginnings["assistant"] }}}}
{{%- else -%}}
{{{{ {end} }}}}
{{%- endif -%}}
"""


def build_jinja(tokenizer: TextTokenizer, prompts: PromptOptions) -> str | None:
    """Returns the template; None for a model that was trained on no conversations.

    A message's content is a text, or a list of texts and images. Messages of one role that follow each other are one
    turn, as in training.
    """
    if prompts.template_fault is not None:
        return None
    chat = ChatTemplate.from_prompts(tokenizer, prompts)

    def quote(ids: Iterable[int]) -> str:
        return json.dumps(tokenizer.decode(ids), ensure_ascii=False)  # Jinja reads the escapes of JSON

    def quote_by_role(texts: Mapping[Role, Iterable[int]]) -> str:
        return ", ".join(f'"{role}": {quote(texts[role])}' for role in ROLES)

    return _TEMPLATE.format(
        beginnings=quote_by_role(chat.beginnings),
        openings=quote_by_role(chat.openings),
        closings=quote_by_role(chat.closings),
        after_system=quote(chat.after_system),
        image=json.dumps(IMAGE + tokenizer.decode(chat.after_image)),
        end=quote(chat.end),
    )
