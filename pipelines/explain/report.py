"""Writes an explanation as lines of text."""

from collections.abc import Iterator

from pipelines.explain.origin import TRAINED, Detection, Explanation, ImageBytes, SpanOrigin, Step
from schemas.masking import mask_secrets

MAX_TEXT = 200  # characters of a caption that are printed above its spans


def list_lines(found: Explanation) -> Iterator[str]:
    """Yields the lines: captions with their spans, engines, then the steps back to the source."""
    for caption, one in enumerate(found.captions):
        spans = [span for span in found.spans if span.caption == caption]
        if not spans and len(found.spans):
            continue
        trained = " (trained on)" if one.is_trained_on and one.name != TRAINED else ""
        yield f"{one.name}{trained}: {_shorten(one.text)}"
        for span in spans:
            yield from _describe_span(span)
    if found.engines:
        yield "engines"
    for stage, made in found.engines.items():
        settings = ", ".join(f"{name}={value}" for name, value in made.settings.items()) or "defaults"
        yield f"  {stage}: {made.name} {made.version}; weights {made.weights_sha256 or 'none'}; {settings}"
    yield "where it comes from"
    for step in found.steps:
        yield from _describe_step(step)
    for note in found.notes:
        yield f"note: {note}"


def _describe_span(span: SpanOrigin) -> Iterator[str]:
    number = "-" if span.number is None else span.number
    claim = f" ({span.note})" if span.note else ""
    yield f"  {number}  characters {span.start} to {span.end}: {_shorten(span.text)}{claim}"
    for one in span.detections:
        yield f"       from {_describe_detection(one)}"
    if not span.detections:
        yield "       from no detection: it is of the wording, or of the text that the caption was written into"


def _describe_detection(one: Detection) -> str:
    name = one.column if one.number is None else f"{one.column} {one.number}"
    score = "" if one.score is None else f", score {one.score:.3f}"
    place = "" if one.pixels is None else f", pixels {one.pixels[0]},{one.pixels[1]} to {one.pixels[2]},{one.pixels[3]}"
    return f"{name}: {_shorten(one.text)}{score}{place}"


def _describe_step(step: Step) -> Iterator[str]:
    yield f"  {step.command}: {step.place}, {step.row}"
    for name, value in step.facts:
        yield f"    {name}: {value}"
    if step.image is not None:
        yield f"    image: {_describe_image(step.image)}"


def _describe_image(image: ImageBytes) -> str:
    where = "" if image.offset is None else f" at byte {image.offset:,}"
    return f"{image.member} in {image.file}{where}, {image.size:,} bytes, sha256 {image.sha256}"


def _shorten(text: str) -> str:
    text = mask_secrets(text)  # first: half a secret is not found
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT:,} more characters)"
