import ast
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.atoms import SENTENCE_MARKS, RawCaption
from curation.captions.grounding import FAMILY, GroundingOptions, render_grounding_captions
from curation.captions.lists import has_few, keep_above
from curation.captions.mentions import Mention, find_mentions
from schemas.layouts.blip3_grounding import (
    GRANULARITIES,
    blip3_grounding_schema,
    parse_captions,
    parse_metadata,
    parse_text,
)
from schemas.records.box import BOXES_COLUMN, Box, Detection, detection_to_arrow
from schemas.records.caption import Caption
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "grounding_captions.json").read_text("utf-8"))
CENTRE = (0.25, 0.25, 0.75, 0.75)
VALIDATOR = re.compile(r"<object>([^<]+)</object>\s*<bbox>\[([^\]]+)\]\[([^\]]+)\]</bbox>")  # a consumer's own

PIECES = [
    *("dog", "dogs", "hot dog", "s", "狗", "<", "object>", "<object>", "</object>", "<bbox>", "</bbox>", "&lt;", "&"),
    *("amp;", "#40;", "&#40;", "(", ")", " (in the center)", "(in the center", "center", "[0.1, 0.2][0.3, 0.4]"),
    *("(starts at [", "0.5, 0.5]", " (starts at [0.1, 0.2] and extends upto [0.3, 0.4])", ", ", ". ", ".", "!", " "),
    *("The image contains ", "The image contains", "he image contains", "T", "&#84;", '"', "'", "\\", "\n", "\0"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=20)
CORNERS = st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 4)
FOUND = st.lists(st.builds(Detection, TEXTS, st.just(""), CORNERS, st.floats(0, 1, width=32)), max_size=5)


def thing(label: str, score: float = 0.9, box: Box = CENTRE) -> Detection:
    return Detection(label, label, box, score)


def box_array(rows: Sequence[Sequence[Detection] | None]) -> pa.ListArray:
    return pa.array(
        [None if row is None else [detection_to_arrow(each) for each in row] for row in rows], BOXES_COLUMN.type
    )


def tag_array(rows: Sequence[Sequence[Tag] | None]) -> pa.ListArray:
    return pa.array([None if row is None else [tag_to_arrow(each) for each in row] for row in rows], TAGS_COLUMN.type)


def strings(*values: str | None) -> pa.StringArray:
    return pa.array(values, pa.string())


def preview(
    found: Sequence[Detection],
    raw: str = "",
    base: str | None = None,
    granularities: Collection[int] = GRANULARITIES,
    raw_caption: RawCaption = "both",
) -> list[Caption]:
    """The captions of one image without tags: what `render_grounding_captions` writes for it, read back."""
    bases = None if base is None else strings(base)
    columns = render_grounding_captions(box_array([found]), strings(raw), None, bases, granularities, raw_caption)
    return parse_captions(columns.captions[0].as_py())


def grounded(raw: str, *found: Detection) -> str:
    """Granularity 0 with the alt text."""
    return preview(found, raw, None, [0], "with")[0].text


def sentence(caption: str) -> str:
    return caption if not caption or caption[-1] in SENTENCE_MARKS else caption + "."


@pytest.mark.parametrize("example", GOLDEN, ids=lambda example: example["shows"])
def test_golden_captions(example: dict[str, Any]) -> None:
    found = [thing(each["label"], each["score"], tuple(each["box"])) for each in example["boxes"]]
    tags = example["tags"] and tag_array(
        [[Tag(each["name"], 1.0, "caption", each["start"], each["end"]) for each in example["tags"]]]
    )
    base = None if example["base_caption"] is None else strings(example["base_caption"])
    columns = render_grounding_captions(box_array([found]), strings(example["raw_caption"]), tags, base)
    expected = [[item["text"], item["granularity"], item["include_datacomp_raw_cap"]] for item in example["captions"]]
    assert ast.literal_eval(columns.captions[0].as_py()) == expected
    assert json.loads(columns.metadata[0].as_py()) == example["metadata"]


def test_golden_file_shows_every_granularity_with_and_without_the_raw_caption() -> None:
    order = [(granularity, with_raw) for with_raw in (False, True) for granularity in range(3)]
    for example in GOLDEN:
        kinds = [(item["granularity"], item["include_datacomp_raw_cap"]) for item in example["captions"]]
        assert kinds == order


def test_consumers_find_what_they_look_for() -> None:
    """By place in the list, by their patterns, by where they cut."""
    found = [thing("dog", 0.9, (0.25, 0.375, 0.5, 0.625)), thing("cat", 0.8)]
    columns = render_grounding_captions(box_array([found]), strings("A dog"))
    captions = ast.literal_eval(columns.captions[0].as_py())
    assert captions[0][0] == "The image contains dog (in the center), cat (in the center)"
    assert re.search(r"\(starts at \[0\.25,\s*0\.375\] and extends upto \[0\.5,\s*0\.625\]\)", captions[1][0])
    finest, granularity, with_raw = captions[-1]
    assert (granularity, with_raw) == (2, True)
    assert VALIDATOR.findall(finest) == [("dog", "0.25, 0.375", "0.5, 0.625"), ("cat", "0.25, 0.25", "0.75, 0.75")]
    assert finest.split("The image contains")[0] == ("A <object>dog</object><bbox>[0.25, 0.375][0.5, 0.625]</bbox>. ")


@pytest.mark.parametrize(
    ("centre", "words"),
    [
        ((0.1, 0.1), "at the top left corner"),
        ((0.5, 0.1), "above the center"),
        ((0.9, 0.1), "at the top right corner"),
        ((0.1, 0.5), "to the left of the center"),
        ((0.5, 0.5), "in the center"),
        ((0.9, 0.5), "to the right of the center"),
        ((0.1, 0.9), "at the bottom left corner"),
        ((0.5, 0.9), "below the center"),
        ((0.9, 0.9), "at the bottom right corner"),
        ((0.333, 0.667), "at the bottom left corner"),
        ((0.334, 0.666), "in the center"),
    ],
)
def test_position_words(centre: tuple[float, float], words: str) -> None:
    assert grounded("A dog", thing("dog", box=centre * 2)) == f"A dog ({words})"


def test_all_numbers_print_as_python_prints_them() -> None:
    numbers = [number / 1000 for number in range(1001)]
    found = [thing("x", box=(number,) * 4) for number in numbers]
    rough, fine = (each.text for each in preview(found, "", None, [1, 2], "without"))
    assert rough == "The image contains " + ", ".join(
        f"x (starts at [{n}, {n}] and extends upto [{n}, {n}])" for n in numbers
    )
    assert fine == "The image contains " + ", ".join(
        f"<object>x</object><bbox>[{n}, {n}][{n}, {n}]</bbox>" for n in numbers
    )


@pytest.mark.parametrize(
    ("raw", "caption"),
    [
        ("A dog", "A dog (in the center). The image contains cat (in the center)"),
        ("A dog.", "A dog (in the center). The image contains cat (in the center)"),
        ("A dog?\n ", "A dog (in the center)? The image contains cat (in the center)"),
        ("看dog。", "看dog。 The image contains dog (in the center), cat (in the center)"),
        ("", "The image contains dog (in the center), cat (in the center)"),
        (" \u3000\n", "The image contains dog (in the center), cat (in the center)"),
    ],
)
def test_the_tail_sentence_follows_the_caption(raw: str, caption: str) -> None:
    assert grounded(raw, thing("dog", 0.9), thing("cat", 0.8)) == caption


def test_the_surest_box_goes_to_the_first_mention() -> None:
    left, right, below = (0.0, 0.4, 0.2, 0.6), (0.8, 0.4, 1.0, 0.6), (0.4, 0.8, 0.6, 1.0)
    found = [thing("dog", 0.5, left), thing("dog", 0.9, right), thing("dog", 0.7, below)]
    assert grounded("A dog and another dog", *found) == (
        "A dog (to the right of the center) and another dog (below the center). "
        "The image contains dog (to the left of the center)"
    )
    assert grounded("A dog, a dog and a dog: dogs", found[0]) == (
        "A dog (to the left of the center), a dog and a dog: dogs"
    )


def test_another_caption_takes_the_places_and_the_alt_text_stays_as_it_is() -> None:
    captions = preview([thing("dog")], "dog <object>", "My dog sleeps", [0, 2])
    assert [each.text for each in captions] == [
        "My dog (in the center) sleeps",
        "My <object>dog</object><bbox>[0.25, 0.25][0.75, 0.75]</bbox> sleeps",
        "dog <object>. My dog (in the center) sleeps",
        "dog &lt;object>. My <object>dog</object><bbox>[0.25, 0.25][0.75, 0.75]</bbox> sleeps",
    ]
    assert [each.text for each in preview([thing("dog")], "Woof.", "", [0])] == [
        "The image contains dog (in the center)",
        "Woof. The image contains dog (in the center)",
    ]


def test_tags_tell_of_mentions_in_the_alt_text_alone() -> None:
    found, raws = box_array([[thing("knife")]]), strings("knives, knife")
    tags = tag_array([[Tag("knife", 1.0, "caption", 0, 6), Tag("spoon", 0.5, "image")]])
    columns = [
        render_grounding_captions(found, raws, tags, None, [0], "with"),
        render_grounding_captions(found, raws, tags, raws, [0], "without"),
    ]
    assert [ast.literal_eval(each.captions[0].as_py())[0][0] for each in columns] == [
        "knives (in the center), knife",
        "knives, knife (in the center)",
    ]


def test_tags_that_lie_elsewhere_do_no_harm() -> None:
    spans = [(-1, 3), (2, 2), (5, 3), (0, 99), (None, 3), (0, None)]
    tags = tag_array([[Tag("dog", 1.0, "caption", start, end) for start, end in spans]])
    (row,) = render_grounding_captions(
        box_array([[thing("dog")]]), strings("A cat"), tags, None, [0], "with"
    ).captions.to_pylist()
    assert parse_captions(row)[0].text == "A cat. The image contains dog (in the center)"


@pytest.mark.parametrize(
    ("text", "labels", "found"),
    [
        ("Dogs, a DOG, doges and hotdogs", ["dog"], ["Dogs", "DOG"]),
        ("boxes on a box", ["box"], ["boxes", "box"]),
        ("a hot dog and a dog", ["dog", "hot dog"], ["hot dog", "dog"]),
        ("a hot  dog, hot-dogs, hot\ndog", ["hot dog"], ["hot  dog", "hot-dogs", "hot\ndog"]),
        ("glasses and a glass", ["glass", "glasses"], ["glasses", "glass"]),
        ("C++ or C, C#", ["c++", "c"], ["C++", "C", "C"]),
        ("cat_1 cat2 concat cat.", ["cat"], ["cat"]),
        ("一只狗在沙发上", ["狗", "沙发"], ["狗", "沙发"]),
        ("cafe\u0301 cafe", ["cafe"], ["cafe"]),
        ("a (b) [c] .*", [".*", "(b)"], ["(b)", ".*"]),
        ("a b c d", ["a b", "b c", "c d"], ["a b", "c d"]),
        ("anything", ["", " - "], []),
    ],
)
def test_mentions(text: str, labels: list[str], found: list[str]) -> None:
    assert [text[mention.start : mention.end] for mention in find_mentions(text, labels)] == found


def test_of_two_mentions_in_one_place_the_longest_counts() -> None:
    tagged = [Mention("hot dog", 2, 9), Mention("dog", 6, 9)]
    assert find_mentions("a hot dog", ["dog"], tagged) == [Mention("hot dog", 2, 9)]
    assert find_mentions("a dog", ["Dog", "dog"]) == [Mention("Dog", 2, 5)]
    assert find_mentions("glasses", ["glass", "glasses"]) == [Mention("glasses", 0, 7)]


def test_long_captions_take_no_quadratic_time() -> None:
    text = "a dog " * 20_000
    assert len(find_mentions(text, ["a", "dog", "a dog", "dog a"])) == 20_000
    assert preview([thing("dog")] * 10, text, None, [2], "with")[0].text.count("<object>") == 10


def test_order_is_by_granularity_first_without_then_with() -> None:
    captions = preview([thing("dog")], "raw", None, [2, 0])
    kinds = [(each.granularity, each.include_datacomp_raw_cap) for each in captions]
    assert kinds == [(0, False), (2, False), (0, True), (2, True)]


def test_rows_without_boxes_nulls_chunks_and_windows() -> None:
    rows = [[], None, [thing("dog")], [thing("cat", 0.3), thing("dog", 0.5)]]
    raws = ["raw ", None, None, "a cat"]
    tags = tag_array([[], None, None, [Tag("cat", 1.0, "caption", 2, 5)]])
    expected = render_grounding_captions(box_array(rows), strings(*raws), tags, None, [0])
    texts = [[caption.text for caption in parse_captions(row)] for row in expected.captions.to_pylist()]
    assert texts == [
        ["", "raw"],
        ["", ""],
        ["The image contains dog (in the center)"] * 2,
        [
            "The image contains dog (in the center), cat (in the center)",
            "a cat (in the center). The image contains dog (in the center)",
        ],
    ]
    assert expected.metadata[0].as_py() == '{"entries": [], "format": "norm_xyxy_3dp", "length": 0}'
    padded = box_array([[thing("x")], *rows, [thing("x")]])[1:5]
    chunked = pa.chunked_array([padded[:1], padded[1:]])
    assert (
        render_grounding_captions(chunked, pa.chunked_array([strings(*raws)]), pa.chunked_array([tags]), None, [0])
        == expected
    )
    assert render_grounding_captions(box_array([]), strings()) == (strings(), strings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"granularities": [3]}, "granularities"),
        ({"granularities": []}, "granularities"),
        ({"raw_caption": "maybe"}, "maybe"),
        ({"base_captions": strings("a", "b")}, "unequal lengths: 1, 1, 2"),
        ({"boxes": box_array([[thing("T", box=(float("nan"), 0, 0, 0))]])}, "NaN"),
    ],
)
def test_wrong_use_is_said_in_one_line(change: dict[str, Any], message: str) -> None:
    arguments = {"boxes": box_array([[thing("T")]]), "raw_captions": strings("r")} | change
    with pytest.raises(ValueError, match=message) as error:
        render_grounding_captions(**arguments)
    assert "\n" not in str(error.value)


def test_score_floor() -> None:
    rows = [[thing("a", 0.9), thing("b", 0.89)], [thing("c", float("nan"))], None, []]
    kept = keep_above(box_array([[thing("x")], *rows])[1:], "score", 0.9)
    kept.validate(full=True)
    assert kept.type == BOXES_COLUMN.type
    assert [row and [each["label"] for each in row] for row in kept.to_pylist()] == [["a"], [], None, []]
    assert has_few(kept, 1).to_pylist() == [False, True, True, True]


@given(FOUND, TEXTS, TEXTS | st.none())
@settings(max_examples=150)
def test_markup_is_balanced_and_removing_it_gives_the_caption_back(
    found: list[Detection], raw: str, base: str | None
) -> None:
    raw_caption, base_caption = raw.rstrip(), (raw if base is None else base).rstrip()
    for each in preview(found, raw, base):
        read = parse_text(each.text, each.granularity)
        caption = base_caption
        if base is None and not each.include_datacomp_raw_cap:
            caption = ""
        elif base is not None and each.include_datacomp_raw_cap and raw_caption:
            caption = f"{sentence(raw_caption)} {base_caption}" if base_caption else raw_caption
        assert read.caption == (sentence(caption) if read.tail else caption)
        assert len(read.mentions) + len(read.tail) == len(found)
        labels = [thing.label for thing in found]
        assert all(place.name in labels for place in read.tail)
        if each.granularity:
            corners = [tuple(round(min(max(n, 0), 1) * 1000) / 1000 for n in thing.box) for thing in found]
            assert sorted(place.box for place in read.mentions + read.tail if place.box) == sorted(corners)
        if each.granularity == 2:
            tags = re.findall(r"</?(?:object|bbox)>", each.text)
            assert tags == ["<object>", "</object>", "<bbox>", "</bbox>"] * len(found)
            for place in read.mentions:
                assert place.name is not None
                assert read.caption[: place.end].endswith(place.name)


@given(st.lists(st.tuples(FOUND, TEXTS, TEXTS), max_size=4))
@settings(max_examples=50)
def test_any_row_survives_parquet(rows: list[tuple[list[Detection], str, str]]) -> None:
    boxes, raws, bases = box_array([row[0] for row in rows]), *(strings(*(row[n] for row in rows)) for n in (1, 2))
    columns = render_grounding_captions(boxes, raws, None, bases)
    names = strings(*map(str, range(len(rows))))
    schema = blip3_grounding_schema("r1", "caption")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([names, names, names, names, bases, *columns], schema=schema), sink)
    read = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert read.schema.equals(schema, check_metadata=True)
    for row, (found, raw, base) in zip(read.to_pylist(), rows, strict=True):
        captions, entries = parse_captions(row["captions"]), parse_metadata(row["metadata"])
        assert [[each.text, each.granularity, each.include_datacomp_raw_cap] for each in captions] == ast.literal_eval(
            row["captions"]
        )
        assert row["cogvlm_caption"] == base
        assert row["metadata"] == json.dumps(json.loads(row["metadata"]), ensure_ascii=False)
        ranked = sorted(found, key=lambda each: -each.score)
        assert [entry.category for entry in entries] == [each.label for each in ranked]
        numbers = range(len(entries), 0, -1)  # rounded scores may be equal where those before were not
        again = [thing(e.category, n / 1000, e.box or CENTRE) for e, n in zip(entries, numbers, strict=True)]
        assert preview(again, raw, base) == captions  # every form follows from the printed box


def test_the_family_renders_as_its_options_ask() -> None:
    """Tags count if the set has them, and the captions that the places are in are a column of their own."""
    boxes, captions = box_array([[thing("dog")], [thing("cat"), thing("dog")]]), strings("a hound", "cats")
    tags, bases = tag_array([[Tag("dog", 1.0, "caption", 2, 7)], None]), strings("a dog", "two cats")
    table = pa.table({"boxes": boxes, "caption": captions, "tags": tags})
    for options in (GroundingOptions(), GroundingOptions(granularities=[2, 0], raw_caption="with")):
        asked = (options.granularities, options.raw_caption)
        plain = render_grounding_captions(boxes, captions, None, None, *asked)._asdict()
        tagged = render_grounding_captions(boxes, captions, tags, None, *asked)._asdict()
        based = render_grounding_captions(boxes, captions, tags, bases, *asked)._asdict()
        assert tagged != plain != based
        alt = {"cogvlm_caption": table["caption"]}
        assert FAMILY.render(table, options, None) == alt | tagged
        assert FAMILY.render(table.drop_columns("tags"), options, None) == alt | plain
        assert FAMILY.render(table, options, bases) == {"cogvlm_caption": bases} | based
