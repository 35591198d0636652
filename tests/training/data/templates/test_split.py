"""Published chat templates come apart at their turns; one that does not is refused, and so is one that never ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.support import chat_templates
from tests.training.support.chat_templates import CHATML, LLAMA2, LLAMA3, MISTRAL, OLD_PHI3, PHI3, QWEN2, Published
from training.data.templates.split import UnsplittableTemplate, split_chat_template


def turns(opening: str, closing: str) -> dict[str, str]:
    return {"opening": opening, "closing": closing}


CHATML_TURNS = {
    "start": "",
    **{role: turns(f"<|im_start|>{role}\n", "<|im_end|>\n") for role in ("system", "user", "assistant")},
}
LLAMA3_TURNS = {
    "start": "<|begin_of_text|>",
    **{
        role: turns(f"<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>")
        for role in ("system", "user", "assistant")
    },
}
PHI3_TURNS = {
    "start": "",
    **{role: turns(f"<|{role}|>\n", "<|end|>\n") for role in ("system", "user", "assistant")},
    "end": "<|endoftext|>",
}
VICUNA_TURNS = {
    "start": "<s>",
    "system": turns("", "\n\n"),
    "user": turns("USER: ", "\n"),
    "assistant": turns("ASSISTANT: ", "</s>\n"),
}
MISTRAL_TURNS = {
    "start": "<s>",
    "system": turns(" [INST] ", "\n\n"),
    "user": turns(" [INST] ", " [/INST]"),
    "assistant": turns(" ", "</s>"),
    "user_after_system": "",  # the system text is part of the user's turn
}
GEMMA_TURNS = {
    "start": "<bos>",
    "user": turns("<start_of_turn>user\n", "<end_of_turn>\n"),
    "assistant": turns("<start_of_turn>model\n", "<end_of_turn>\n"),
}
SPLIT: list[tuple[Published, dict[str, Any]]] = [
    *zip(
        chat_templates.PUBLISHED.values(),
        (CHATML_TURNS, LLAMA3_TURNS, PHI3_TURNS, VICUNA_TURNS, MISTRAL_TURNS, GEMMA_TURNS),
        strict=True,
    ),
    (
        OLD_PHI3,
        {
            "start": "<s>",
            "user": turns("<|user|>\n", "<|end|>\n<|assistant|>\n"),
            "assistant": turns("", "<|end|>\n"),
        },
    ),
    (
        QWEN2,
        CHATML_TURNS | {"first_user": "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n"},
    ),
    (
        LLAMA2,
        {
            "start": "",
            "system": turns("<s>[INST] <<SYS>>\n", "\n<</SYS>>\n\n"),
            "user": turns("<s>[INST] ", " [/INST]"),
            "assistant": turns(" ", " </s>"),
            "user_after_system": "",
        },
    ),
]


@pytest.mark.parametrize(
    ("published", "expected"), SPLIT, ids=[*chat_templates.PUBLISHED, "old_phi3", "qwen2", "llama2"]
)
def test_published_templates(tmp_path: Path, published: Published, expected: dict[str, Any]) -> None:
    tokenizer = chat_templates.load(tmp_path, published)
    found = split_chat_template(published.template, tokenizer).model_dump(exclude_none=True)
    defaults = {"start": "", "end": ""}
    assert found == defaults | expected


def test_what_transformers_passes_is_there(tmp_path: Path) -> None:
    """Blocks of generation, loop controls, namespaces, JSON, no tools; the clock alone is missing."""
    template = (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% generation %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% endgeneration %}{{ m.content }}{% set ns.n = ns.n + 1 %}{{ eos_token + '\n' }}{% if ns.n > 99 %}{% break %}"
        "{% endif %}{% endfor %}{% if tools is not none or documents is not none or add_generation_prompt %}"
        "{{ {'a': '<'} | tojson }}{% endif %}{% if strftime_now is defined %}{{ strftime_now('%S') }}{% endif %}"
    )
    found = split_chat_template(template, chat_templates.load(tmp_path, CHATML)).model_dump(exclude_none=True)
    assert found == {"end": ""} | CHATML_TURNS


ALTERS = "it alters, moves, repeats or drops the words of a turn "
REFUSED = {
    "upper": (
        "{% for m in messages %}{{ m.role + m.content | upper + eos_token }}{% endfor %}",
        f"{ALTERS}(user) in a ",
    ),
    "twice": ("{% for m in messages %}{{ m.role + m.content * 2 + eos_token }}{% endfor %}", f"{ALTERS}(user) in a "),
    "json": (
        "{% for m in messages %}{{ m | tojson }}{{ eos_token }}{% endfor %}",
        f"{ALTERS}(user) in a conversation of 1",
    ),
    "backwards": (
        "{% for m in messages | reverse %}{{ m.role + m.content + eos_token }}{% endfor %}",
        f"{ALTERS}(assistant) in a conversation of 2 turns",
    ),
    "last system": (chat_templates.MISTRAL_V03, f"{ALTERS}(system) in a conversation of 3 turns"),
    "thoughts": (
        chat_templates.QWEN3,
        r"the text between user and assistant is '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n' or "
        r"'<|im_end|>\n<|im_start|>assistant\n', which depends on more than the two roles",
    ),
    "numbered": (
        "{% for m in messages %}{{ 'Round %d' % loop.index0 + m.role + m.content + eos_token }}{% endfor %}",
        "the text between user and assistant is '<|im_end|>Round 1assistant' or '<|im_end|>Round 3assistant'",
    ),
    "endless": (
        "{% for m in messages %}{{ m.role + ':' + m.content + '\n' }}{% endfor %}",
        "nothing ends the turns of the assistant, so that a model would never stop",
    ),
    "raises": ("{{ raise_exception('not\na model to talk to') }}", "TemplateError: not a model to talk to"),
    "broken": ("{% for %}", "TemplateSyntaxError: "),
    "memory": ("{{ 'a' * 10 ** 10 }}", "MemoryError:"),
    "long": ("{% for i in range(99999) %}{{ 'a' * 99 }}{% endfor %}", "it renders more than 1,048,576 characters"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError: "),
    "escape": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError: "),
    "surrogate": ("{{ '\\ud800' }}", "UnicodeEncodeError: 'utf-8' codec can't encode"),
    "long fault": ("{{ raise_exception('a' * 10 ** 7) }}", "TemplateError: aaa"),
    "clock": ("{{ strftime_now('%d %b %Y') }}", "'strftime_now' is undefined"),
}


@pytest.mark.parametrize(("template", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_template_that_does_not_split_is_refused(tmp_path: Path, template: str, reason: str) -> None:
    published = MISTRAL if template == chat_templates.MISTRAL_V03 else CHATML
    with pytest.raises(UnsplittableTemplate) as error:
        split_chat_template(template, chat_templates.load(tmp_path, published))
    message = str(error.value)
    assert message.startswith("tokenizer: its chat template can't be split into turns: ")
    assert reason in message
    assert "\n" not in message
    suggested = message.partition("; write the texts around each turn as data.template, such as ")[2]
    assert json.loads(suggested).keys() >= {"user", "assistant"}
    assert len(message) < 2000


def test_the_suggestion_is_what_the_template_says(tmp_path: Path) -> None:
    with pytest.raises(UnsplittableTemplate) as error:
        split_chat_template(chat_templates.QWEN3, chat_templates.load(tmp_path, CHATML))
    suggested = json.loads(str(error.value).partition("such as ")[2])
    assert suggested == CHATML_TURNS | {
        "assistant": turns("<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_end|>\n")
    }


@pytest.mark.slow
def test_a_template_that_never_ends(tmp_path: Path) -> None:
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(UnsplittableTemplate, match="rendering it takes more than 5 seconds or 1024 MiB; write"):
        split_chat_template(loop, chat_templates.load(tmp_path, CHATML))


def test_special_tokens_are_not_cut(tmp_path: Path) -> None:
    """`<|end` begins three names; the letters in common end before them."""
    tokenizer = chat_templates.load(tmp_path, PHI3)
    assert tokenizer.split_markup("a<|end|>b<|endoftext|><|en") == ["a", "<|end|>", "b", "<|endoftext|>", *"<|en"]
    assert (
        split_chat_template(LLAMA3.template.replace("<|eot_id|>", "<|end|>"), tokenizer).assistant.closing == "<|end|>"
    )
