"""Reads YAML that others may have written: plain values alone, within bounds, and nothing that counts silently.

`yaml.safe_load` lets a key stand twice, of which the last counts, and expands aliases: nine lines can hold a billion
values (the "billion laughs").
"""

from typing import Any

import yaml

MAX_DEPTH = 32
"""Collections within one another; recipes have six."""

MAX_NODES = 100_000
"""Keys, values and collections; recipes have hundreds."""


MAX_SHOWN = 80
"""Characters of a key in an error's line."""


class RefusedYaml(yaml.MarkedYAMLError):
    """Says why YAML that is well formed is refused, and in which line."""

    def __str__(self) -> str:
        line = "" if self.problem_mark is None else f"line {self.problem_mark.line + 1}: "
        return f"{line}{self.problem}"


class _Loader(yaml.SafeLoader):
    """Refuses aliases, keys that stand twice, and documents over the bounds."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Counts the node, with all that is within it."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's
        if self.check_event(yaml.AliasEvent):
            raise RefusedYaml(problem="aliases (*name) are not taken: write the value out", problem_mark=mark)
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            bound = f"{MAX_DEPTH} levels" if self._depth > MAX_DEPTH else f"{MAX_NODES:,} values"
            raise RefusedYaml(problem=f"more than {bound}", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Makes a mapping, each key of which stands once."""
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool | None):
                if key in keys:
                    raise RefusedYaml(
                        problem=f"the key {repr(key)[:MAX_SHOWN]} stands twice: leave one of them out",
                        problem_mark=key_node.start_mark,
                    )
                keys.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str | bytes) -> Any:
    """Returns the value of a YAML document. Raises `yaml.YAMLError`, or `ValueError` for what is no text or no date."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
