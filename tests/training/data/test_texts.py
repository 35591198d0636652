"""Which text is learnt: fillers go, captions are chosen by key, and what isn't there is not made up."""

import json
from collections import Counter

from tests.training.support.sets import captioned, document
from training.data.options import SourceTextOptions
from training.data.texts import select_caption, select_parts

STORED = SourceTextOptions()
CAPTIONS = json.dumps(
    [
        {"text": f"level {level}{' raw' if raw else ''}", "granularity": level, "include_datacomp_raw_cap": raw}
        for level in (0, 1)
        for raw in (False, True)
    ]
)


def chosen(key: str, rule: SourceTextOptions, seed: int = 0, captions: str = CAPTIONS) -> str | None:
    return select_caption(key, "stored", "alt", captions, rule, seed)


def test_the_stored_text_unless_told_otherwise() -> None:
    assert (chosen("a", STORED), STORED.is_stored) == ("stored", True)
    assert not SourceTextOptions(raw_caption=False).is_stored


def test_a_caption_of_the_kind_that_is_asked_for() -> None:
    assert chosen("a", SourceTextOptions(granularities=[1], raw_caption=True)) == "level 1 raw"
    assert chosen("a", SourceTextOptions(granularities=[0], raw_caption=False)) == "level 0"
    assert chosen("a", SourceTextOptions(granularities=[5])) is None
    assert chosen("a", SourceTextOptions(granularities=[0]), captions="[]") is None
    assert chosen("a", SourceTextOptions(granularities=[0]), captions="no JSON") is None


def test_of_several_the_key_and_the_seed_choose() -> None:
    rule = SourceTextOptions(granularities=[0, 1])
    found = [chosen(f"key {number}", rule) for number in range(4000)]
    assert found == [chosen(f"key {number}", rule) for number in range(4000)]
    counts = Counter(found)
    assert sorted(filter(None, counts)) == ["level 0", "level 0 raw", "level 1", "level 1 raw"]
    assert all(900 < count < 1100 for count in counts.values())
    assert found != [chosen(f"key {number}", rule, seed=1) for number in range(4000)]


def test_a_byte_order_mark_is_not_learnt() -> None:
    captions = json.dumps([{"text": "\ufeffb", "granularity": 0, "include_datacomp_raw_cap": False}])
    assert chosen("a", SourceTextOptions(granularities=[0]), captions=captions) == "b"


def test_a_bare_list_is_learnt_only_if_asked_for() -> None:
    """Over alt texts, the grounding captions without the alt text are lists of objects; both were drawn alike."""

    def entries(*texts: tuple[str, int, bool]) -> str:
        names = ("text", "granularity", "include_datacomp_raw_cap")
        return json.dumps([dict(zip(names, each, strict=True)) for each in texts])

    listed, placed = "The image contains dog (in the center)", "a dog (in the center) runs"
    captions = entries((listed, 0, False), (placed, 0, True))
    keys = [f"key {number}" for number in range(100)]
    rule = SourceTextOptions(granularities=[0])
    assert {chosen(key, rule, captions=captions) for key in keys} == {placed}
    assert {chosen(key, SourceTextOptions(raw_caption=False), captions=captions) for key in keys} == {listed}
    assert {chosen(key, rule, captions=entries((listed, 0, False))) for key in keys} == {listed}
    both = entries((placed, 0, False), (f"alt. {placed}", 0, True))
    assert {chosen(key, rule, captions=both) for key in keys} == {placed, f"alt. {placed}"}


def test_fillers_go_from_captions_and_documents_but_not_from_alt_texts() -> None:
    rule = SourceTextOptions(strip_filler=True)
    text = 'The image contains the text "SALE", the text "the text"'
    assert select_caption("a", text, "", "[]", rule, 0) == '"SALE", "the text"'
    alt = "The image contains the text"
    assert select_caption("a", f"{alt}. {text}", alt, "[]", rule, 0) == f'{alt}. "SALE", "the text"'
    assert select_parts(document(1, [text, (64, 48), "plain"]), rule, 0) == ['"SALE", "the text"', 0, "plain"]


def test_an_image_without_a_caption_is_alone() -> None:
    assert select_parts(captioned(1, "a"), STORED, 0) == [0, "a"]
    assert select_parts(captioned(1, ""), STORED, 0) == [0]
    assert select_parts(captioned(1, "a"), SourceTextOptions(granularities=[0]), 0) is None
