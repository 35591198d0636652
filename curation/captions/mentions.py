"""Finds where a caption mentions the things that are shown: whole words, longest first, without overlaps."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_GAP = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class Mention:
    """Holds a label and its span in a text: `text[start:end]`."""

    label: str
    start: int
    end: int


def find_mentions(text: str, labels: Sequence[str], tagged: Sequence[Mention] = ()) -> list[Mention]:
    """Returns the mentions of labels in a text, in the order of the text.

    A label matches in any case, as whole words with spaces or hyphens between them, also with a plural "s" or "es".
    `tagged` are mentions that a tag engine has found in the same text; it knows more word forms ("knives"). Of mentions
    that overlap the longest counts, then the first, then the one in the label's own form, then the one whose label
    comes first. So "dog" is not found in "hot dog" if "hot dog" is a label too, or is tagged.
    """
    order = {label: number for number, label in enumerate(labels)}
    found = [(mention, False) for mention in tagged if 0 <= mention.start < mention.end <= len(text)]
    lower = text.lower()
    for label in order:
        start, pattern = _compile_pattern(label)
        if pattern and start in lower:  # checked first, because a search that ignores case is slow
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


@lru_cache(maxsize=1 << 16)  # vocabularies have thousands of labels, detectors' phrases are more
def _compile_pattern(label: str) -> tuple[str, re.Pattern[str] | None]:
    """Returns the label's first word in lower case and the pattern; None as the pattern for a label without words."""
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
    """Returns whether a word that begins or ends with this character must stand apart from its neighbours."""
    return character.isalnum() and not _UNSPACED.match(character)


def _is_mark(text: str, position: int) -> bool:
    """Returns whether the character there is an accent or a vowel sign, which belongs to the letter before it."""
    return position < len(text) and not text[position].isascii() and unicodedata.category(text[position])[0] == "M"
