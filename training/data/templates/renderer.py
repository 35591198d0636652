"""Renders a chat template as transformers does. It is a program of its own, because a template is hostile code.

A template may loop without end or fill the memory, inside calls that nothing within a process can interrupt. So
`split` starts this file with the conversations on stdin, as JSON, and reads the texts from stdout.
"""

import contextlib
import json
import resource
import sys
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

CPU_SECONDS = 5  # the longest published templates need a hundredth of a second
MAX_BYTES = 1 << 30  # address space; Python with jinja2 takes 50 MiB
MAX_CHARACTERS = 1 << 20  # of one rendered conversation


class GenerationBlock(Extension):
    """Lets the blocks pass by which templates mark the assistant's words for transformers."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 has it

    def parse(self, parser: Parser) -> list[Node]:
        """Returns the content of the block in its place."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class PlainNamespace(Namespace):
    """Refuses names that lead to Python's own objects, as transformers does."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise jinja2.TemplateError(f"it sets {name}")
        super().__setitem__(name, value)


def build_environment() -> ImmutableSandboxedEnvironment:
    """Builds the environment of transformers, but without a clock: the same template always renders alike."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _dump_json
    environment.globals = {
        "range": environment.globals["range"],
        "namespace": _make_namespace,
        "dict": _make_dict,
        "raise_exception": _raise_exception,
    }
    return environment


def render(template: jinja2.Template, messages: list[dict[str, str]], tokens: dict[str, str]) -> str:
    """Renders one conversation. Raises `ValueError` for a text too long or not UTF-8, and what the template raises."""
    pieces, length = [], 0
    nothing = dict.fromkeys(("tools", "documents"))  # as transformers says that there are none
    for piece in template.generate({**tokens, **nothing, "messages": messages, "add_generation_prompt": False}):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_CHARACTERS:
            raise ValueError(f"it renders more than {MAX_CHARACTERS:,} characters")
    text = "".join(pieces)
    text.encode()
    return text


def main() -> None:
    """Answers the one request on stdin: for each conversation its text, or why there is none."""
    for kind, limit in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_AS, MAX_BYTES), (resource.RLIMIT_CORE, 0)):
        _, most = resource.getrlimit(kind)
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(kind, (limit, most))
    request = json.load(sys.stdin)
    answers = []
    for messages in request["conversations"]:
        try:
            template = build_environment().from_string(request["template"])
            answers.append({"text": render(template, messages, request["tokens"])})
        except Exception as error:  # noqa: BLE001 - a template can raise anything
            answers.append({"fault": f"{type(error).__name__}: {error}"[:1000]})
    json.dump(answers, sys.stdout)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _dump_json(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    """Replaces jinja2's filter, which escapes the characters of HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _make_dict(**values: Any) -> dict[str, Any]:
    return values


def _make_namespace(**values: Any) -> PlainNamespace:
    made = PlainNamespace()
    for name, value in values.items():
        made[name] = value
    return made


if __name__ == "__main__":
    main()
