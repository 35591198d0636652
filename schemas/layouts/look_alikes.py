"""Escapes look-alikes: parts of a text that a reader would take for markup. Only their first character changes."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class LookAlike:
    """Describes a look-alike: a character that is followed by a pattern.

    Escaping writes the character as an entity, `&lt;` or `&#40;`, and an entity in such a place as `&amp;lt;`, so that
    reading gets back every text. For that, the pattern must match neither the character nor `&`.
    """

    character: str
    following: str  # a regular expression

    @cached_property
    def _entity(self) -> str:
        return "lt;" if self.character == "<" else f"#{ord(self.character)};"

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"({re.escape(self.character)}|&(?:amp;)*{self._entity})(?={self.following})")

    def escape(self, text: str) -> str:
        """Escapes every look-alike in the text."""
        return self._pattern.sub(
            lambda found: f"&{self._entity}" if found[1] == self.character else f"&amp;{found[1][1:]}", text
        )

    def unescape(self, text: str) -> str:
        """Undoes `escape`. Look-alikes that were not escaped, for example in third-party files, are kept."""
        return self._pattern.sub(lambda found: self._restore(found[1]), text)

    def _restore(self, found: str) -> str:
        if found == self.character:
            return found
        return self.character if found == f"&{self._entity}" else "&" + found[len("&amp;") :]
