"""Reads untrusted YAML strictly: plain values only, within bounds, and nothing that takes effect silently.

`yaml.safe_load` accepts a repeated key, of which the last value wins, and expands aliases: nine lines can expand to a
billion values (the "billion laughs").
"""

from typing import Any

import yaml

MAX_DEPTH = 32
"""Limits how deep collections nest; recipes have six levels."""

MAX_NODES = 100_000
"""Limits the number of keys, values and collections; recipes have hundreds."""


MAX_SHOWN = 80
"""Limits the characters of a key in an error message."""

MAX_NUMBER = 100
"""Limits the characters of a number; the longest of 64 bits, in base 2, has 67."""


class RefusedYaml(yaml.MarkedYAMLError):
    """Says why well-formed YAML is refused, and in which line."""

    def __str__(self) -> str:
        line = "" if self.problem_mark is None else f"line {self.problem_mark.line + 1}: "
        return f"{line}{self.problem}"


class _Loader(yaml.SafeLoader):
    """Refuses aliases, repeated keys, and documents over the bounds."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes one node with everything in it, and counts it against the bounds."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's
        if self.check_event(yaml.AliasEvent):
            raise RefusedYaml(problem="aliases (*name) are not allowed: write the value out", problem_mark=mark)
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            bound = f"{MAX_DEPTH} levels" if self._depth > MAX_DEPTH else f"{MAX_NODES:,} values"
            raise RefusedYaml(problem=f"more than {bound}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_number(self, node: Any) -> int | float:
        """Constructs a number. Raises `RefusedYaml` for a long one.

        PyYAML takes quadratic time for a whole number in base 60 (`1:30:00`), and Python can't print the longest.
        """
        if len(node.value) > MAX_NUMBER:
            problem = f"a number of {len(node.value):,} characters: put it in quotes if it is text"
            raise RefusedYaml(problem=problem, problem_mark=node.start_mark)
        is_int = node.tag.endswith(":int")
        found: int | float = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        return found

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Constructs a mapping. Raises `RefusedYaml` if a key occurs twice."""
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool | None):
                if key in keys:
                    raise RefusedYaml(
                        problem=f"the key {repr(key)[:MAX_SHOWN]} occurs twice: remove one of them",
                        problem_mark=key_node.start_mark,
                    )
                keys.add(key)
        return super().construct_mapping(node, deep)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def load_yaml(text: str | bytes) -> Any:
    """Returns the value of a YAML document.

    Raises `yaml.YAMLError` for invalid or refused YAML, and `ValueError` for undecodable text or an impossible date.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (AttributeError, LookupError, TypeError):  # PyYAML's for `!!bool x`, `!!timestamp x` and `!!int ''`
        raise RefusedYaml(problem="a value does not fit its tag (!!type)") from None
    finally:
        loader.dispose()
