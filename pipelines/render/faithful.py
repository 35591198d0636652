"""Drops the sentences of base captions that the annotations contradict, and counts them."""

from collections import Counter

import pyarrow as pa

from curation.captions.family import BaseCaptionOptions, CaptionOptions
from curation.faithfulness.evidence import EVIDENCE_COLUMNS, collect_evidence


def drops_sentences(options: CaptionOptions) -> bool:
    """Returns whether the options ask for captions without contradicted sentences."""
    return isinstance(options, BaseCaptionOptions) and options.drop_contradicted


def drop_sentences(annotations: pa.Table, captions: pa.StringArray) -> tuple[pa.StringArray, dict[str, int]]:
    """Returns the captions without contradicted sentences, and the counts of sentences and captions.

    `annotations` has the rows of the captions, with all that the engines found, whatever the floor of the rendering. A
    caption of contradicted sentences alone becomes empty.
    """
    from curation.faithfulness.check import drop_contradicted  # imports lemminflect, which few renderings need

    held = [name for name in EVIDENCE_COLUMNS if name in annotations.column_names]
    counts = Counter({"sentences": 0, "sentences_dropped": 0, "captions_shortened": 0, "captions_emptied": 0})
    texts = []
    for row, caption in zip(annotations.select(held).to_pylist(), captions.to_pylist(), strict=True):
        cleaned = drop_contradicted(caption, collect_evidence(row))
        texts.append(cleaned.text)
        counts["sentences"] += cleaned.sentences
        counts["sentences_dropped"] += cleaned.dropped
        counts["captions_shortened"] += 0 < cleaned.dropped < cleaned.sentences
        counts["captions_emptied"] += 0 < cleaned.dropped == cleaned.sentences
    return pa.array(texts, pa.string()), dict(counts)
