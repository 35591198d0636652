"""Finds texts of a task in the texts of a training set, by the share of their 8-word sequences that one text has.

As for PaLM (Chowdhery et al., 2022), a text is found where a training text has at least 70 % of its 8-grams. Case,
punctuation, white space and Unicode's compatibility forms make no difference. A sequence of words that more than ten
questions of a task share is its template, such as "answer with the option's letter from the given choices", and is left
out, as for GPT-3. A text of its template alone can't be told from one that is merely common; `short_texts` compares
those of fewer than 8 words.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

WORDS = 8
MIN_SHARE = 0.7
MAX_QUESTIONS = 10  # that may share a sequence of words
_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"  # written without spaces: each character is a word
_WORD = re.compile(rf"[{_SINGLE}]|[^\W{_SINGLE}]+")


def split_words(text: str) -> list[str]:
    """Returns the words of a text as they are compared."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def list_sequences(text: str) -> Iterator[str]:
    """Yields the sequences of words of a text, in order."""
    words = split_words(text)
    return (" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1))


class TextIndex:
    """Holds the texts of questions by their sequences of words."""

    def __init__(self, questions: Sequence[Sequence[str]]) -> None:
        """Takes the texts of each question; questions are numbered in their order."""
        texts = [(number, set(list_sequences(text))) for number, held in enumerate(questions) for text in held]
        owners: dict[str, set[int]] = {}
        for number, sequences in texts:
            for sequence in sequences:
                owners.setdefault(sequence, set()).add(number)
        self._texts: dict[str, list[int]] = {}
        self._questions: list[int] = []
        self._sizes: list[int] = []
        for number, sequences in texts:
            own = [sequence for sequence in sequences if len(owners[sequence]) <= MAX_QUESTIONS]
            if own:
                for sequence in own:
                    self._texts.setdefault(sequence, []).append(len(self._sizes))
                self._questions.append(number)
                self._sizes.append(len(own))

    @property
    def compared(self) -> set[int]:
        """The questions of which a text can be found."""
        return set(self._questions)

    def find(self, text: str) -> dict[int, float]:
        """Returns the questions of which a text is found in this one, with the largest share of a text's sequences."""
        hits: Counter[int] = Counter()
        for sequence in {sequence for sequence in list_sequences(text) if sequence in self._texts}:
            hits.update(self._texts[sequence])
        found: dict[int, float] = {}
        for number, count in hits.items():
            share, question = count / self._sizes[number], self._questions[number]
            if share >= MIN_SHARE:
                found[question] = max(share, found.get(question, 0.0))
        return found
