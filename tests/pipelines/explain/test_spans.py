"""Captions are numbered behind the texts that are none of them, and a model's caption is found within another text."""

import json
from typing import Any

from pipelines.explain.inputs import SetInputs
from pipelines.explain.origin import CaptionText
from pipelines.explain.spans import tie_captions
from pipelines.explain.trace import Trace
from schemas.records.caption import Caption


def make_trace(captions: list[Caption], **values: Any) -> Trace:
    return Trace(SetInputs({}, ()), captions=captions, size=(100, 50), **values)


def test_a_text_to_train_on_that_is_no_caption_comes_first() -> None:
    metadata = json.dumps({"entries": [{"text": "a", "bbox": [0, 0, 0.5, 0.5], "confidence": 1}]})
    captions = [Caption('The image contains the text "a"', 0, False), Caption('Alt. The text "a"', 0, True)]
    trace = make_trace(captions, metadata=metadata, texts=[CaptionText("text", "other", True)])
    texts, spans = tie_captions(trace)
    assert texts == [
        CaptionText("text", "other", True),
        CaptionText("granularity 0", captions[0].text, False),
        CaptionText("granularity 0 with the alt text", captions[1].text, False),
    ]
    assert [(span.caption, span.start, span.end, span.text) for span in spans] == [
        (1, 28, 31, '"a"'),
        (2, 14, 17, '"a"'),
    ]
    trace.texts = [CaptionText("text", captions[1].text, True)]
    texts, spans = tie_captions(trace)
    assert [(one.name, one.is_trained_on) for one in texts] == [
        ("granularity 0", False),
        ("granularity 0 with the alt text", True),
    ]
    assert [span.caption for span in spans] == [0, 1]


def test_a_models_caption_within_another_text() -> None:
    row = {"captions": [{"name": "dense", "text": "A tree."}], "caption": ""}
    trace = make_trace([Caption("In short: A tree. So it is.", 0, False)], annotations=row)
    _, spans = tie_captions(trace)
    whole = next(span for span in spans if not span.status)
    assert (whole.start, whole.end, whole.text) == (10, 17, "A tree.")
    trace.captions = [Caption("tree", 0, False)]  # a part of it
    _, spans = tie_captions(trace)
    whole = next(span for span in spans if not span.status)
    assert (whole.start, whole.end, whole.detections[0].stage) == (0, 4, "captions.dense")
