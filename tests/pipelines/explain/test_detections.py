"""Which annotation an entry of a caption's metadata is, and which pixels an outline takes."""

import pytest

from pipelines.explain.detections import describe_item, find_model_caption, match_entries, measure_pixels


def place(text: str, x1: float) -> dict[str, object]:
    return {"text": text, "x1": x1, "y1": 0.1, "x2": x1 + 0.1, "y2": 0.2}


def test_entries_are_matched_by_text_and_then_by_place() -> None:
    items = [place("A", 0.1), place("B", 0.3), place("A", 0.5), place("A", 0.8)]
    assert match_entries([place("A", 0.5004), place("A", 0.1), place("B", 0.3)], items, "text") == [2, 0, 1]
    assert match_entries([place("A", 0.1), place("A", 0.1)], items, "text") == [0, None], "each at most once"
    assert match_entries([place("C", 0.1), place("B", 0.31)], items, "text") == [None, None], "another text or place"


@pytest.mark.parametrize(
    ("outline", "pixels"),
    [
        ((0.105, 0.2, 0.5, 0.2, 0.5, 0.499, 0.105, 0.499), (10, 10, 50, 25)),
        ((-0.1, -0.1, 1.2, -0.1, 1.2, 1.2, -0.1, 1.2), (0, 0, 100, 50)),
        ((1.0, 1.0, 1.0, 1.0), (99, 49, 100, 50)),
        ((), None),
    ],
)
def test_pixels_are_inside_the_image(outline: tuple[float, ...], pixels: tuple[int, ...] | None) -> None:
    assert measure_pixels(outline, (100, 50)) == pixels
    assert measure_pixels(outline, None) is None


def test_a_box_and_the_tag_that_it_was_searched_by() -> None:
    row = {
        "tags": [{"name": "cat", "score": 0.5}, {"name": "dog", "score": 0.75}],
        "boxes": [{"label": "dog", "phrase": "dog", "score": 0.9, "x1": 0.0, "y1": 0.0, "x2": 0.5, "y2": 0.5}],
        "captions": [{"name": "dense", "text": "A dog."}],
    }
    box, tag = describe_item(row, "boxes", 0, (10, 10))
    assert (box.column, box.text, box.stage, box.pixels) == ("boxes", "dog", "boxes", (0, 0, 5, 5))
    assert (tag.column, tag.number, tag.score, tag.pixels) == ("tags", 1, 0.75, None)
    (caption,) = describe_item(row, "captions", 0, (10, 10))
    assert (caption.stage, caption.text) == ("captions.dense", "A dog.")


def test_the_caption_that_a_text_was_made_from() -> None:
    row = {"captions": [{"text": ""}, {"text": "A dog. A cat."}, {"text": "A dog."}]}
    assert find_model_caption(row, "A dog.", may_be_cut=True) == 2, "the same one comes first"
    assert find_model_caption(row, "In short: A dog. A cat.", may_be_cut=False) == 1
    assert find_model_caption(row, "A cat.", may_be_cut=True) == 1, "a sentence was dropped"
    assert find_model_caption(row, "A cat.", may_be_cut=False) is None
