"""Each filter at its edge, the policies for images, and hashes that know a picture again."""

import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from curation.documents.filters import (
    DocumentFilters,
    build_captioned_image,
    choose_stored_extension,
    compute_hamming_distance,
    compute_perceptual_hash,
    detect_extension,
    filter_document,
    measure_image,
)
from curation.images.decode import DecodeLimits, decode
from schemas.records.document import ImageSource, ParsedCaptionedImage, ParsedDocument, ParsedImage, validate_document
from schemas.records.quarantine import Reason, Rejected
from tests.conftest import jpeg

LOST = Rejected(Reason.LOST_IMAGE, "404")
LIMITS = DecodeLimits()


def draft(*parts: str | ImageSource, **changes: Any) -> ParsedDocument:
    """A document of these texts and images; an address is given as `img:...`."""
    images: list[ParsedImage] = []
    placed: list[str | int] = []
    for part in parts:
        if isinstance(part, str) and not part.startswith("img:"):
            placed.append(part)
        else:
            placed.append(len(images))
            images.append(ParsedImage(part))
    return ParsedDocument("u", "https://example.org", tuple(placed), tuple(images), **changes)


def stored(found: ParsedDocument, **options: Any) -> tuple[tuple[str | int, ...], list[bytes], dict[Reason, int]]:
    result = filter_document(found, "k", "obelics", DocumentFilters(**options), LIMITS)
    validate_document(result.document)
    return result.document.parts, [image.data for image in result.document.images], dict(result.dropped)


def reason(found: ParsedDocument, **options: Any) -> str:
    with pytest.raises(Rejected) as error:
        filter_document(found, "k", "obelics", DocumentFilters(**options), LIMITS)
    return str(error.value)


def test_a_good_document_is_stored_whole() -> None:
    document = filter_document(
        draft("a", jpeg(1), jpeg(2), "b"), "k-7", "mint-html", DocumentFilters(), LIMITS
    ).document
    assert (document.key, document.source, document.uid, document.url) == (
        "k-7",
        "mint-html",
        "u",
        "https://example.org",
    )
    assert document.parts == ("a", 0, 1, "b")
    first = document.images[0]
    assert (first.width, first.height, first.extension) == (64, 48, "jpg")
    assert first.sha256 == hashlib.sha256(jpeg(1)).hexdigest()
    assert filter_document(draft("a"), "k", "text", DocumentFilters(), LIMITS).dropped == Counter()


def test_empty_names_are_none() -> None:
    document = filter_document(ParsedDocument("", "", ("a",)), "k", "text", DocumentFilters(), LIMITS).document
    validate_document(document)
    assert (document.uid, document.url) == (None, None)


def test_lost_images_are_dropped_and_counted() -> None:
    found = draft("a", LOST, jpeg(1), "img:https://gone", b"<html>404</html>", jpeg(2)[:900], "b")
    lost = {Reason.LOST_IMAGE: 2, Reason.NOT_AN_IMAGE: 1, Reason.DECODE_ERROR: 1}
    assert stored(found) == (("a", 0, "b"), [jpeg(1)], lost)


def test_a_lost_image_may_cost_the_document() -> None:
    assert reason(draft("a", jpeg(1), LOST), lost_image="drop_document") == "lost_image: image 1: 404"
    assert (
        reason(draft("img:https://gone/x.jpg"), lost_image="drop_document")
        == "lost_image: image 0: img:https://gone/x.jpg is in no store"
    )
    assert reason(draft(b"?", "a"), lost_image="drop_document").startswith("not_an_image: image 0: ")


def test_a_cut_picture_is_found_by_decoding() -> None:
    found = draft("a", jpeg(2)[:900])
    assert stored(found, decode_images=False) == (("a", 0), [jpeg(2)[:900]], {})
    assert stored(found) == (("a",), [], {Reason.DECODE_ERROR: 1})


def test_small_and_long_images() -> None:
    found = draft("a", jpeg(1, 8, 64), jpeg(2, 1000, 16), jpeg(3))
    assert stored(found) == (("a", 0), [jpeg(3)], {Reason.TOO_SMALL: 1, Reason.EXTREME_ASPECT: 1})
    fault = "too_small: image 0: 8 x 64 pixels, the least side is 16"
    assert reason(found, filtered_image="drop_document") == fault
    assert stored(found, image={"min_side": None, "max_aspect": None})[2] == {}


def test_repeats_inside_a_document() -> None:
    found = draft(jpeg(1), "a", jpeg(2), jpeg(1), "b", jpeg(1))
    assert stored(found) == ((0, "a", 1, "b"), [jpeg(1), jpeg(2)], {Reason.REPEATED_IMAGE_IN_DOCUMENT: 2})
    assert stored(found, repeated_image="keep")[0] == (0, "a", 1, 2, "b", 3)
    fault = "repeated_image_in_document: image 2: the same as image 0"
    assert reason(found, repeated_image="drop_document") == fault


def test_an_image_that_came_before_in_the_input_is_not_a_lost_one() -> None:
    repeat = Rejected(Reason.REPEATED_IMAGE, "came before in the input")
    kept = (("a", 0), [jpeg(1)], {Reason.REPEATED_IMAGE: 1})
    assert stored(draft("a", repeat, jpeg(1)), lost_image="drop_document") == kept
    assert reason(draft("a", repeat, "b", roles=("user", "user", "assistant"))).startswith("repeated_image: image 0: ")


def test_number_of_images() -> None:
    found = draft("a", jpeg(1), jpeg(2), LOST)
    assert stored(found, min_images=2, max_images=2)[0] == ("a", 0, 1)
    assert reason(found, min_images=3) == "too_few_images: 2 images, the least is 3"
    assert reason(found, max_images=1) == "too_many_images: 2 images, the most is 1"
    assert stored(draft("a"), min_images=0)[0] == ("a",)


def test_null_switches_the_number_of_images_off() -> None:
    most = draft("a", *(jpeg(number) for number in range(30)))
    more = draft("a", *(jpeg(number) for number in range(31)))
    assert len(stored(most)[1]) == 30
    assert reason(more) == "too_many_images: 31 images, the most is 30"
    for options in ({}, {"min_images": 31}):
        assert len(stored(more, max_images=None, **options)[1]) == 31
    assert reason(more, max_images=None, min_images=32) == "too_few_images: 31 images, the least is 32"
    assert stored(draft("a"), max_images=0)[0] == ("a",)
    assert reason(draft("a", jpeg(1)), max_images=0) == "too_many_images: 1 images, the most is 0"


def test_null_switches_the_length_of_the_text_off() -> None:
    most, more = ("x" * length for length in (4_000_000, 4_000_001))
    assert stored(draft(most))[0] == (most,)
    assert reason(draft(more)) == "too_long: 4000001 characters, the most is 4000000"
    for options in ({}, {"min_characters": 4_000_001}):
        assert stored(draft(more), max_characters=None, **options)[0] == (more,)
    fault = "too_short: 4000001 characters, the least is 4000002"
    assert reason(draft(more), max_characters=None, min_characters=4_000_002) == fault
    assert stored(draft(jpeg(1)), max_characters=0)[0] == (0,)
    assert reason(draft("a"), max_characters=0) == "too_long: 1 characters, the most is 0"


def test_length_of_the_text() -> None:
    found = draft("abc", jpeg(1), "dé", "  ")
    assert stored(found, min_characters=5, max_characters=5)[0] == ("abc", 0, "dé")
    assert reason(found, min_characters=6) == "too_short: 5 characters, the least is 6"
    assert reason(found, max_characters=4) == "too_long: 5 characters, the most is 4"


@pytest.mark.parametrize("found", [draft(), draft("", " \n"), draft(" ")])
def test_empty_documents(found: ParsedDocument) -> None:
    assert reason(found) == "empty_document: no text, and none of 0 images is left"


def test_a_document_that_loses_everything_is_empty() -> None:
    assert reason(draft(" ", LOST, LOST)) == "empty_document: no text, and none of 2 images is left"


@pytest.mark.parametrize(
    "options",
    [
        {"min_images": 3, "max_images": 2},
        {"min_characters": 2, "max_characters": 1},
        {"lost_image": "keep"},
        {"max": 3},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DocumentFilters.model_validate(options)


def test_a_captioned_image() -> None:
    found = ParsedCaptionedImage("u", None, ParsedImage(jpeg(1)), "a cat", "cat.jpg", "[]", '{"a": 1}')
    image = build_captioned_image(found, "k", "00000", "000000000001", DocumentFilters(), LIMITS)
    assert (image.key, image.uid, image.url, image.source_shard, image.source_key) == (
        "k",
        "u",
        "",
        "00000",
        "000000000001",
    )
    assert (image.width, image.height, image.extension, image.image) == (64, 48, "jpg", jpeg(1))
    assert (image.text, image.alt_text, image.metadata) == ("a cat", "cat.jpg", '{"a": 1}')
    for source, options, fault in (
        (LOST, {}, "lost_image: 404"),
        ("https://gone", {}, "lost_image: https://gone is in no store"),
        (jpeg(1, 8, 8), {}, "too_small: 8 x 8 pixels, the least side is 16"),
        (jpeg(1), {"min_characters": 6}, "too_short: 5 characters, the least is 6"),
    ):
        with pytest.raises(Rejected) as error:
            build_captioned_image(
                ParsedCaptionedImage("u", None, ParsedImage(source), "a cat"),
                "k",
                "s",
                "k",
                DocumentFilters(**options),
                LIMITS,
            )
        assert str(error.value) == fault


@pytest.mark.parametrize(
    ("kind", "extension"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
        ("AVIF", "avif"),
        ("JPEG2000", "jp2"),
        ("PPM", "ppm"),
    ],
)
def test_extensions_are_those_of_the_bytes(kind: str, extension: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 30)).save(file, kind)
    assert detect_extension(file.getvalue()) == extension
    image = measure_image(ParsedImage(file.getvalue(), "https://example.org/x.jpg"), DocumentFilters(), LIMITS)
    assert (image.extension, image.width, image.height) == (extension, 20, 30)
    for ending, stored in (("jpeg", "jpg"), ("tiff", "tif"), ("webp", "webp"), ("JPG", extension), ("jfif", extension)):
        assert choose_stored_extension(ending, file.getvalue()) == stored


# perceptual hashes


def photos(data: Path, count: int) -> list[np.ndarray[Any, Any]]:
    paths = sorted((data / "interleaved/mint_html/images").glob("*.jpg"))[:count]
    return [decode(path.read_bytes(), DecodeLimits()) for path in paths]


def test_hash_of_plain_pictures() -> None:
    assert compute_perceptual_hash(np.zeros((40, 50, 3), np.uint8)) == 0
    assert compute_perceptual_hash(np.full((40, 50, 3), 200, np.uint8)) == 1 << 63
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0).repeat(3, axis=2)
    assert (
        compute_hamming_distance(compute_perceptual_hash(ramp), compute_perceptual_hash(ramp[:, ::-1].copy())) == 4
    )  # the odd waves
    assert (compute_hamming_distance(0, 0), compute_hamming_distance(0, 2**64 - 1), compute_hamming_distance(5, 6)) == (
        0,
        64,
        2,
    )


def test_a_picture_is_known_again(data: Path) -> None:
    for image in photos(data, 12):
        own = compute_perceptual_hash(image)
        assert own == compute_perceptual_hash(image.copy())
        picture = Image.fromarray(image)
        smaller = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        smaller.save(file, "JPEG", quality=60)
        assert compute_hamming_distance(own, compute_perceptual_hash(decode(file.getvalue(), DecodeLimits()))) <= 8


def test_other_pictures_are_not(data: Path) -> None:
    hashes = {compute_perceptual_hash(image) for image in photos(data, 12)}
    distances = [compute_hamming_distance(one, other) for one in hashes for other in hashes if one < other]
    assert min(distances) > 10
