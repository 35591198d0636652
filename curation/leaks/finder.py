"""Compares the samples of training sets with the questions of tasks, by images and by texts, one batch at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from curation.images.decode import DecodeLimits, RgbImage, decode
from curation.leaks.hash_index import HashIndex
from curation.leaks.image_hashes import WORDS, Hashes, hash_views
from curation.leaks.leak import Leak
from curation.leaks.short_texts import ShortTextIndex
from curation.leaks.texts import TextIndex
from schemas.records.quarantine import Rejected

MAX_LEAKS = 3  # of a kind that are kept of a question, the first ones: a logo may be in a million samples

_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True)
class ComparedSample:
    """Holds what is compared of a training sample."""

    key: str
    images: Sequence[bytes]
    text: str


@dataclass(slots=True)
class LeakCounts:
    """Counts what was compared."""

    samples: int = 0
    images: int = 0  # of the samples
    unusable_images: int = 0  # of the samples, that can't be decoded
    flat_images: int = 0  # of the samples, without detail that could be compared


@dataclass(slots=True)
class QuestionLeaks:
    """Holds the leaks of one question."""

    has_images: bool = False  # that can be compared
    has_texts: bool = False
    has_short_texts: bool = False  # alone: it has no text of 8 words and more that can be compared
    leaks: list[Leak] = field(default_factory=list)  # at most `MAX_LEAKS` of each kind: by image, by text, by both


class LeakFinder:
    """Holds the questions of all tasks: 10 kB for an image and some 100 bytes for a word."""

    def __init__(self, questions: Iterable[tuple[Sequence[RgbImage], Sequence[str]]]) -> None:
        """Takes the images and the texts of each question."""
        hashes, owners, texts = [np.empty((0, WORDS), np.uint64)], list[int](), list[Sequence[str]]()
        for number, (images, held) in enumerate(questions):
            for image in images:
                hashes.append(hash_views(image, mirrored=True))
                owners += [number] * len(hashes[-1])
            texts.append(held)
        self.counts = LeakCounts()
        self._images, self._owners, self._texts = HashIndex(np.concatenate(hashes)), np.array(owners), TextIndex(texts)
        self._short_texts = ShortTextIndex(texts)
        seen, told = set(owners), self._texts.compared
        short = self._short_texts.compared - told
        self.questions = [
            QuestionLeaks(number in seen, number in told or number in short, number in short)
            for number in range(len(texts))
        ]

    def look_at(self, place: str, samples: Sequence[ComparedSample]) -> None:
        """Compares samples of the set in the folder `place` with all questions."""
        near = self._find_images(samples)
        for number, sample in enumerate(samples):
            shares, short = self._texts.find(sample.text), self._short_texts.find(sample.text)
            for question in sorted(near[number].keys() | shares.keys() | short):
                is_short = question in short and question not in shares
                share = 1.0 if is_short else shares.get(question)
                leak = Leak(place, sample.key, near[number].get(question), share, is_short)
                _add(self.questions[question], leak)
        self.counts.samples += len(samples)

    def _find_images(self, samples: Sequence[ComparedSample]) -> list[dict[int, int]]:
        """Returns for each sample the questions that have an image like one of its own, with the least distance."""
        hashes, owners = [np.empty((0, WORDS), np.uint64)], list[int]()
        for number, sample in enumerate(samples):
            for data in sample.images:
                hashes.append(self._hash(data))
                owners += [number] * len(hashes[-1])
        found: list[dict[int, int]] = [{} for _ in samples]
        matches = self._images.find(np.concatenate(hashes))
        for query, entry, distance in zip(*(part.tolist() for part in matches), strict=True):
            of_sample, question = found[owners[query]], int(self._owners[entry])
            of_sample[question] = min(distance, of_sample.get(question, distance))
        return found

    def _hash(self, data: bytes) -> Hashes:
        self.counts.images += 1
        try:
            hashes = hash_views(decode(data, _LIMITS))
        except Rejected:
            self.counts.unusable_images += 1
            return np.empty((0, WORDS), np.uint64)
        self.counts.flat_images += not len(hashes)
        return hashes


def _add(question: QuestionLeaks, leak: Leak) -> None:
    """Keeps a leak among the first ones of its kind; those by a short text are a kind of their own."""
    if sum((held.kind, held.is_short) == (leak.kind, leak.is_short) for held in question.leaks) < MAX_LEAKS:
        question.leaks.append(leak)
