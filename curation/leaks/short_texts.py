"""Finds short texts of a task, such as most questions of VQAv2, where a training text says just that.

A text of 3 to 7 words has no sequence of 8 words that could be looked for. It is found where a line or a sentence of a
training text has the same words and no others; case, punctuation, white space and Unicode's compatibility forms make no
difference. A text that more than ten questions of a task share is its template, and is left out, as is one of fewer
words: "yes" is everywhere. Even so, "What color is the cat?" is asked about many images: such a leak is told apart.
"""

import re
from collections.abc import Iterator, Sequence

from curation.leaks.texts import MAX_QUESTIONS, WORDS, split_words

LEAST_WORDS = 3
_LINE_END = re.compile(r"[\r\n\u2028\u2029]+")
_SENTENCE_END = re.compile("(?<=[.!?])[\"')\\]\u201d\u2019]*\\s+|(?<=[\u3002\uff01\uff1f])")  # CJK has no spaces after
_SPARE = 2  # times the characters of the longest text, beyond which a sentence is not looked at: it may have spaces


def list_sentences(text: str) -> Iterator[str]:
    """Yields the lines of a text, and the sentences of a line that has several."""
    for line in filter(None, _LINE_END.split(text)):
        yield line
        sentences = list(filter(None, _SENTENCE_END.split(line)))
        if len(sentences) > 1:
            yield from sentences


class ShortTextIndex:
    """Holds the short texts of questions by their words."""

    def __init__(self, questions: Sequence[Sequence[str]]) -> None:
        """Takes the texts of each question; questions are numbered in their order."""
        owners: dict[str, set[int]] = {}
        self._longest = 0
        for number, texts in enumerate(questions):
            for text in texts:
                words = split_words(text)
                if LEAST_WORDS <= len(words) < WORDS:
                    owners.setdefault(" ".join(words), set()).add(number)
                    self._longest = max(self._longest, len(text))
        self._owners = {text: held for text, held in owners.items() if len(held) <= MAX_QUESTIONS}

    @property
    def compared(self) -> set[int]:
        """The questions of which a text can be found."""
        return set().union(*self._owners.values())

    def find(self, text: str) -> set[int]:
        """Returns the questions of which a text is a line or a sentence of this one."""
        found = set[int]()
        if self._owners:
            for sentence in list_sentences(text):
                if len(sentence) <= _SPARE * self._longest:
                    found |= self._owners.get(" ".join(split_words(sentence)), set())
        return found
