"""Chat templates as they are published, each with a tokenizer of bytes that has its special tokens."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.training.support import tiny
from training.model.tokens import TextTokenizer, load_tokenizer

ALTERNATE = (
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)


@dataclass(frozen=True)
class Published:
    """A template, the special tokens of its tokenizer, and how that names them."""

    template: str
    tokens: tuple[str, ...]
    eos: str
    bos: str | None = None


CHATML = Published(
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
LLAMA3 = Published(
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|eot_id|>",
    "<|begin_of_text|>",
)
PHI3 = Published(
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + "
    "'<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "<|endoftext|>",
    "<s>",
)
VICUNA = Published(
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] | trim + '\n\n' %}{% else %}{% set loop_messages = messages %}{% set system_message = '' %}"
    "{% endif %}{{ bos_token + system_message }}{% for message in loop_messages %}" + ALTERNATE + "{% if "
    "message['role'] == 'user' %}{{ 'USER: ' + message['content'] | trim + '\n' }}{% elif message['role'] == "
    "'assistant' %}{{ 'ASSISTANT: ' + message['content'] | trim + eos_token + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    ("<s>", "</s>"),
    "</s>",
    "<s>",
)
MISTRAL = Published(
    """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
""",
    ("<s>", "</s>"),
    "</s>",
    "<s>",
)
GEMMA = Published(
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    + ALTERNATE
    + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | "
    "trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "<eos>",
    "<bos>",
)
PUBLISHED = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "phi3": PHI3,
    "vicuna": VICUNA,
    "mistral": MISTRAL,
    "gemma": GEMMA,
}

# Phi-3's of April 2024: the answer's opening is part of the user's turn, and a system turn disappears
OLD_PHI3 = Published(
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + "
    "message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}"
    "{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}",
    PHI3.tokens,
    PHI3.eos,
    PHI3.bos,
)
# Qwen 2.5, but for tools: a system turn of its own where there is none
QWEN2 = Published(
    "{%- if messages[0]['role'] == 'system' %}\n{{- '<|im_start|>system\\n' + messages[0]['content'] + "
    "'<|im_end|>\\n' }}\n{%- else %}\n{{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- for message in messages %}\n{%- if not (message.role == 'system' and loop.first) %}\n{{- '<|im_start|>' + "
    "message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n{%- endif %}\n{%- endfor %}",
    CHATML.tokens,
    CHATML.eos,
)
LLAMA2 = Published(
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}" + ALTERNATE + "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + "
    "content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + "
    "eos_token }}{% endif %}{% endfor %}",
    ("<s>", "</s>"),
    "</s>",
    "<s>",
)
# Mistral 7B v0.3, but for tools: the system text stands in the last turn of a conversation that ends with the user
MISTRAL_V03 = MISTRAL.template.replace("loop.first", "loop.last")
# Qwen 3's way: only an answer to the last question has a place for thoughts
QWEN3 = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.role == 'assistant' and "
    "loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ message.content + '<|im_end|>\n' }}{% endfor %}"
)


def write_tokenizer(folder: Path, published: Published, **settings: object) -> Path:
    """A tokenizer of bytes with the template's special tokens behind; `settings` go into tokenizer_config.json."""
    tiny.write_tokenizer(folder, published.tokens)
    named = {"eos_token": published.eos, "pad_token": published.eos, "chat_template": published.template}
    config = named | ({} if published.bos is None else {"bos_token": published.bos}) | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def load(folder: Path, published: Published, **settings: object) -> TextTokenizer:
    """The tokenizer of `write_tokenizer`."""
    return load_tokenizer(tiny.options(write_tokenizer(folder, published, **settings)))
