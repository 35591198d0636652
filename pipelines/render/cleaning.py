"""Drops sentences of captions that models wrote, and counts them.

Those that leak the prompt go first, then those that the annotations contradict. A caption of such sentences alone
becomes empty.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.captions.family import CaptionOptions, WrittenCaptionOptions
from curation.captions.written.leaks import MAX_BYTES, LeakFilter, decode_file, parse_phrases
from curation.faithfulness.evidence import EVIDENCE_COLUMNS, collect_evidence
from pipelines.render.text_files import read_text_file


@dataclass(frozen=True, slots=True)
class CaptionCleaner:
    """Cleans captions as the options of a rendering ask."""

    leaks: LeakFilter | None
    leaks_sha256: str  # of the phrases' file and the prompts; empty without them
    drops_contradicted: bool

    @classmethod
    def load(cls, options: CaptionOptions) -> "CaptionCleaner | None":
        """Reads the files that the options name; None if they ask for captions as they are. Raises `UsageError`."""
        if not isinstance(options, WrittenCaptionOptions):
            return None
        files = list(_read_files(options))
        if not files and not options.drop_contradicted:
            return None
        phrases = [
            phrase for what, content in files if what == "leak_phrases" for phrase in parse_phrases(content, what)
        ]
        prompts = [decode_file(content, what) for what, content in files if what == "leak_prompts"]
        hashes = "".join(hashlib.sha256(content).hexdigest() for _, content in files)
        return cls(
            LeakFilter.build(phrases, prompts) if files else None,
            hashlib.sha256(hashes.encode()).hexdigest() if files else "",
            options.drop_contradicted,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of annotations that cleaning reads, which a set need not have."""
        return EVIDENCE_COLUMNS if self.drops_contradicted else ()

    def clean(self, annotations: pa.Table, captions: pa.StringArray) -> tuple[pa.StringArray, dict[str, int]]:
        """Returns the captions without the sentences that are dropped, and the counts of sentences and captions.

        `annotations` has the rows of the captions, with all that the engines found, whatever the floor of the
        rendering.
        """
        names = ["sentences", *["sentences_leaking"] * (self.leaks is not None)]
        names += [*["sentences_dropped"] * self.drops_contradicted, "captions_shortened", "captions_emptied"]
        counts = Counter(dict.fromkeys(names, 0))
        held = [name for name in self.columns if name in annotations.column_names]
        rows = annotations.select(held).to_pylist() if held else [{}] * len(captions)
        texts = [self._clean_one(caption, row, counts) for caption, row in zip(captions.to_pylist(), rows, strict=True)]
        return pa.array(texts, pa.string()), dict(counts)

    def _clean_one(self, caption: str, row: dict[str, Any], counts: Counter[str]) -> str:
        sentences = leaking = contradicted = 0
        text = caption
        if self.leaks is not None:
            text, sentences, leaking = self.leaks.drop_leaks(text)
            counts["sentences_leaking"] += leaking
        if self.drops_contradicted:
            from curation.faithfulness.check import drop_contradicted  # imports lemminflect, which few renderings need

            cleaned = drop_contradicted(text, collect_evidence(row))
            text, contradicted = cleaned.text, cleaned.dropped
            sentences = sentences or cleaned.sentences
            counts["sentences_dropped"] += contradicted
        counts["sentences"] += sentences
        counts["captions_shortened"] += 0 < leaking + contradicted < sentences
        counts["captions_emptied"] += 0 < leaking + contradicted == sentences
        return text


def _read_files(options: WrittenCaptionOptions) -> Iterator[tuple[str, bytes]]:
    if options.leak_phrases is not None:
        yield "leak_phrases", read_text_file(options.leak_phrases, "leak_phrases", MAX_BYTES)
    for path in options.leak_prompts:
        yield "leak_prompts", read_text_file(path, "leak_prompts", MAX_BYTES)
