"""Of the captions of an image the one with places in it is taken; a bare list only if it is asked for, or alone."""

import pytest

from curation.captions.choice import choose_caption, is_bare_list
from schemas.records.caption import Caption

LIST, OVER_ALT = "The image contains dog (in the center)", "a dog (in the center) runs"
OVER_OTHERS = "A brown dog (in the center)"
BOX = "<bbox>[0.1, 0.1][0.2, 0.2]</bbox>"


@pytest.mark.parametrize(
    ("without", "with_raw", "raw_caption", "text"),
    [
        (LIST, OVER_ALT, None, OVER_ALT),
        (LIST, OVER_ALT, False, LIST),
        (LIST, OVER_ALT, True, OVER_ALT),
        (OVER_OTHERS, f"alt. {OVER_OTHERS}", None, OVER_OTHERS),
        (f"{OVER_OTHERS}. The image contains cat (in the center)", "alt", None, None),
        (LIST, None, None, LIST),
        (LIST, "", None, LIST),
        ('The image contains the text "A"', 'alt. The image contains the text "A"', None, None),
    ],
)
def test_the_caption_with_places_in_it(
    without: str, with_raw: str | None, raw_caption: bool | None, text: str | None
) -> None:
    captions = [Caption("another", 1, False), Caption(without, 0, False)]
    captions += [] if with_raw is None else [Caption(with_raw, 0, True)]
    for order in (captions, captions[::-1]):
        found = choose_caption(order, 0, raw_caption)
        assert found is not None
        assert found.text == (without if text is None else text)
    assert choose_caption(captions, 2, raw_caption) is None
    assert choose_caption(captions, 1, True) is None


def test_each_granularity_has_bare_lists() -> None:
    assert is_bare_list("The image contains dog (starts at [0.1, 0.1] and extends upto [0.2, 0.2])", 1)
    assert is_bare_list(f"The image contains <object>dog</object>{BOX}, <object>cat</object>{BOX}.", 2)
    assert not is_bare_list(f'The image contains the text "<ocr>A</ocr>{BOX}"', 5)
    assert not is_bare_list('The image contains the text "A" located above the center', 1)
    assert not is_bare_list("", 0)
