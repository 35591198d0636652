"""Where a caption speaks of the things that are shown: whole words, the longest first, no two in one place."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_GAP = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class Mention:
    """A label, and where a text has it: `text[start:end]`."""

    label: str
    start: int
    end: int


def find_mentions(text: str, labels: Sequence[str], tagged: Sequence[Mention] = ()) -> list[Mention]:
    """The mentions of labels in a text, in its order.

    A label is found whatever its case, as whole words with spaces or hyphens between them, and with a plural's "s" or
    "es" as well. `tagged` are mentions that a tag engine has found in this very text, which knows more of words
    ("knives"). Of those that overlap the longest counts, then the first, then the one that is spelt as it is, then the
    label that comes first. So "dog" isn't found in "hot dog" if that is a label as well, or is tagged.
    """
    order = {label: number for number, label in enumerate(labels)}
    found = [(mention, False) for mention in tagged if 0 <= mention.start < mention.end <= len(text)]
    lower = text.lower()
    for label in order:
        start, pattern = _pattern(label)
        if pattern and start in lower:  # a search that ignores case is slow
            found += [
                (Mention(label, match.start(), match.end()), match.lastgroup is not None)
                for match in pattern.finditer(text)
                if not _is_mark(text, match.end())
            ]
    found.sort(
        key=lambda each: (
            each[0].start - each[0].end,
            each[0].start,
            each[1],
            order.get(each[0].label, len(order)),
            each[0].label,
        )
    )
    taken = bytearray(len(text))
    mentions = []
    for mention, _ in found:
        if taken.find(1, mention.start, mention.end) < 0:
            taken[mention.start : mention.end] = b"\1" * (mention.end - mention.start)
            mentions.append(mention)
    return sorted(mentions, key=lambda mention: mention.start)


@lru_cache(maxsize=1 << 16)  # vocabularies have thousands of labels, phrases of detectors more
def _pattern(label: str) -> tuple[str, re.Pattern[str] | None]:
    """The first word in small letters, and the pattern; none for a label without words."""
    words = [word for word in _GAP.split(label) if word]
    if not words:
        return "", None
    first, last = words[0][0], words[-1][-1]
    before = r"(?<!\w)" if _is_spaced(first) else ""
    sibilant = words[-1].lower().endswith(("s", "x", "z", "o", "ch", "sh"))
    plural = f"(?P<plural>{'e?s' if sibilant else 's'})?" if last.isalpha() and _is_spaced(last) else ""
    after = r"(?!\w)" if _is_spaced(last) else ""
    pattern = re.compile(before + r"[\s-]++".join(map(re.escape, words)) + plural + after, re.IGNORECASE)
    return words[0].lower(), pattern


def _is_spaced(character: str) -> bool:
    """Whether a word that begins or ends with it must not go on."""
    return character.isalnum() and not _UNSPACED.match(character)


def _is_mark(text: str, position: int) -> bool:
    """Whether an accent or a vowel sign stands there, and belongs to the letter before it."""
    return position < len(text) and not text[position].isascii() and unicodedata.category(text[position])[0] == "M"
