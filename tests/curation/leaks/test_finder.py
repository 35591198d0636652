"""Planted leaks: what is found of each kind of copy, and that nothing else is."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from curation.leaks.finder import ComparedSample, LeakFinder
from curation.leaks.leak import Leak
from tests.curation.leaks.support.copies import crop, decoded, draw_photo, encode, recompress

COUNT = 6
TEXT = "Two people in yellow coats wait for the last tram beside an empty kiosk"
Change = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [draw_photo(seed) for seed in range(COUNT)]


def find(photos: list[Image.Image], samples: list[ComparedSample]) -> list[list[Leak]]:
    finder = LeakFinder(([decoded(photo)], []) for photo in photos)
    finder.look_at("set", samples)
    return [one.leaks for one in finder.questions]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image, id="same"),
        pytest.param(lambda image: image.resize((160, 120)), id="resized"),
        pytest.param(lambda image: image.resize((500, 300)), id="stretched"),
        pytest.param(lambda image: recompress(image, 25), id="jpeg"),
        pytest.param(ImageOps.mirror, id="mirrored"),
        pytest.param(lambda image: crop(image, 0.05), id="cropped in the middle"),
        pytest.param(lambda image: crop(image, 0.05, 0, 1), id="cropped at a corner"),
        pytest.param(lambda image: recompress(crop(image, 0.05, 0.3, 0.8).resize((200, 160)), 50), id="all of it"),
        pytest.param(lambda image: image.convert("L"), id="grey"),
    ],
)
def test_copies_are_found_and_others_are_not(photos: list[Image.Image], change: Change) -> None:
    samples = [ComparedSample(f"c{n}", [encode(change(photo))], "") for n, photo in enumerate(photos)]
    samples += [ComparedSample(f"o{n}", [encode(change(draw_photo(1000 + n)))], "") for n in range(COUNT)]
    assert [[leak.key for leak in leaks] for leaks in find(photos, samples)] == [[f"c{n}"] for n in range(COUNT)]


def test_a_question_that_is_a_crop_of_a_sample_is_found(photos: list[Image.Image]) -> None:
    samples = [ComparedSample(f"c{n}", [encode(photo)], "") for n, photo in enumerate(photos)]
    found = find([crop(photo, 0.05, 1, 0) for photo in photos], samples)
    assert [[leak.key for leak in leaks] for leaks in found] == [[f"c{n}"] for n in range(COUNT)]


@pytest.mark.parametrize("change", [ImageOps.flip, lambda image: image.rotate(90, expand=True), ImageOps.invert])
def test_what_is_not_found(photos: list[Image.Image], change: Change) -> None:
    samples = [ComparedSample(f"c{n}", [encode(change(photo))], "") for n, photo in enumerate(photos)]
    assert find(photos, samples) == [[]] * COUNT


def test_images_texts_and_both(photos: list[Image.Image]) -> None:
    texts = [
        TEXT,
        "A blue kite with a long tail hangs over the roofs of a small harbour",
        "Somebody has painted seven white birds on the door of the old mill",
    ]
    finder = LeakFinder(([decoded(photo)], [text]) for photo, text in zip(photos, texts, strict=False))
    samples = [
        ComparedSample("mixed", [encode(photos[0])], f"It is said: {texts[1].upper()}!"),
        ComparedSample("both", [encode(photos[4]), encode(photos[2])], texts[2]),
        ComparedSample("none", [encode(photos[5])], "A text of eight words or more, of nobody's question"),
    ]
    finder.look_at("set", samples)
    found = [[(leak.key, leak.kind, leak.share) for leak in one.leaks] for one in finder.questions]
    assert found == [[("mixed", "image", None)], [("mixed", "text", 1.0)], [("both", "both", 1.0)]]


def test_the_nearest_of_several_images_of_a_sample_counts(photos: list[Image.Image]) -> None:
    """A copy and a spoilt copy, in both orders."""
    copy, spoilt = encode(photos[0], 95), encode(crop(photos[0], 0.05, 0.3, 0.8), 20)
    finder = LeakFinder([([decoded(photos[0])], [])])
    finder.look_at("set", [ComparedSample("first", [copy, spoilt], ""), ComparedSample("last", [spoilt, copy], "")])
    finder.look_at("set", [ComparedSample("copy", [copy], ""), ComparedSample("spoilt", [spoilt], "")])
    first, last, alone = (leak.distance for leak in finder.questions[0].leaks)
    assert first == last == alone
    other = LeakFinder([([decoded(photos[0])], [])])
    other.look_at("set", [ComparedSample("spoilt", [spoilt], "")])
    (leak,) = other.questions[0].leaks
    assert leak.distance is not None
    assert alone is not None
    assert leak.distance > alone


def test_short_texts_alone_and_with_an_image(photos: list[Image.Image]) -> None:
    short = "Where is he looking?"
    finder = LeakFinder([([decoded(photos[0])], [short]), ([], [short, TEXT]), ([], ["yes"])])
    assert [(one.has_texts, one.has_short_texts) for one in finder.questions] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    samples = [
        ComparedSample("other", [encode(photos[1])], f"{short} Down."),
        ComparedSample("both", [encode(photos[0])], f"{short}\nDown."),
        ComparedSample("long", [], f"{short} {TEXT}"),
    ]
    finder.look_at("set", samples)
    found = [[(leak.key, leak.kind, leak.share, leak.is_short) for leak in one.leaks] for one in finder.questions]
    assert found == [
        [("other", "text", 1.0, True), ("both", "both", 1.0, True), ("long", "text", 1.0, True)],
        [("other", "text", 1.0, True), ("both", "text", 1.0, True), ("long", "text", 1.0, False)],
        [],
    ]


def test_short_texts_leave_room_for_others() -> None:
    finder = LeakFinder([([], ["Where is he looking?", TEXT])])
    samples = [ComparedSample(f"s{n}", [], "Where is he looking?") for n in range(5)]
    finder.look_at("set", [*samples, ComparedSample("long", [], TEXT)])
    assert [leak.key for leak in finder.questions[0].leaks] == ["s0", "s1", "s2", "long"]


def test_what_can_not_be_compared_is_counted(photos: list[Image.Image]) -> None:
    flat = Image.new("RGB", (64, 64), "white")
    finder = LeakFinder([([decoded(flat)], ["short"]), ([decoded(photos[0])], []), ([], [TEXT])])
    assert [(one.has_images, one.has_texts) for one in finder.questions] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    finder.look_at("set", [ComparedSample("a", [b"no image", encode(flat), encode(photos[0])], TEXT)])
    counts = finder.counts
    assert (counts.samples, counts.images, counts.unusable_images, counts.flat_images) == (1, 3, 1, 1)
    assert [[leak.kind for leak in one.leaks] for one in finder.questions] == [[], ["image"], ["text"]]


def test_an_image_in_many_samples_keeps_the_first_of_each_kind(photos: list[Image.Image]) -> None:
    finder = LeakFinder([([decoded(photos[0])], [TEXT])])
    copy, other = encode(photos[0]), encode(photos[1])
    finder.look_at("set", [ComparedSample(f"i{n}", [copy], "") for n in range(5)])
    finder.look_at("other", [ComparedSample(f"t{n}", [other], TEXT) for n in range(5)])
    (question,) = finder.questions
    assert [leak.key for leak in question.leaks] == ["i0", "i1", "i2", "t0", "t1", "t2"]
    assert [leak.set for leak in question.leaks] == ["set"] * 3 + ["other"] * 3
    assert np.all([leak.distance is None or leak.distance <= 31 for leak in question.leaks])
