"""Caption sets: what each row gives, and every trap that docs/formats.md names."""

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources import SOURCES, ReadOptions
from schemas.errors import UsageError
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Rejected
from schemas.tar.reader import Member, TarSample

URL = "https://example.org/cat.jpg"


def read(name: str, item: Any, **options: Any) -> ParsedCaptionedImage:
    draft = SOURCES.find(name).read(item, ReadOptions(**options))
    assert isinstance(draft, ParsedCaptionedImage)
    return draft


def reason(name: str, item: Any, **options: Any) -> str:
    with pytest.raises(Rejected) as error:
        SOURCES.find(name).read(item, ReadOptions(**options))
    return str(error.value)


# KALE


def test_kale_keeps_what_it_does_not_know() -> None:
    others = {"cogvlm_caption": "a cat", "width": 512, "score": float("nan"), "id": None}
    row = {"url": URL, "caption": " A tabby.\n"} | others
    draft = read("kale", row)
    assert (draft.url, draft.image.source, draft.text, draft.uid) == (URL, URL, "A tabby.", None)
    assert json.loads(draft.metadata) == {"cogvlm_caption": "a cat", "width": 512, "score": None}
    assert SOURCES.find("kale").optional is None


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"url": None, "caption": "a"}, "missing_image: there is no url"),
        (
            {"url": "data:image/png,a", "caption": "a"},
            "missing_image: no web address: 'data:image/png,a'",
        ),
        ({"url": "file:///etc/passwd", "caption": "a"}, "missing_image: no web address: 'file:///etc/passwd'"),
        (
            {"url": b"http://caf\xe9", "caption": "a"},
            "missing_image: the image's url is not UTF-8: unexpected end of data at byte 10",
        ),
        ({"url": URL, "caption": None}, "no_caption: the caption is empty"),
        ({"url": URL, "caption": " \n"}, "no_caption: the caption is empty"),
        ({"url": URL}, "no_caption: the caption is empty"),
        ({"url": URL, "caption": ["a"]}, "not_text: the caption: a list, not a text"),
        ({"url": 7, "caption": "a"}, "malformed_row: the image's url is a int, not a text"),
    ],
)
def test_kale_rows_that_are_left_out(row: dict[str, Any], fault: str) -> None:
    assert reason("kale", row) == fault


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (2.5, "2.5"),
        ("\ufeffa", "a"),
        (" \ufeff a", "a"),
        (b"\xef\xbb\xbfB\xc3\xa4r", "Bär"),
    ],
)
def test_captions_are_kept_by_all_readers_alike(value: Any, text: str) -> None:
    assert read("kale", {"url": URL, "caption": value}).text == text
    if not isinstance(value, bytes):  # as JSON and TSV can't have it
        (row,) = items("sbu", json.dumps({"image_urls": [URL], "captions": [value]}).encode())
        assert read("sbu", row).text == text
        assert read("cc3m", f"{value}\t{URL}").text == read("cc12m", f"{URL}\t{value}").text == text
    member = json.dumps({"caption": value}).encode() if isinstance(value, int | float) else b"{}"
    text_member = (
        {} if isinstance(value, int | float) else {"txt": value if isinstance(value, bytes) else value.encode()}
    )
    assert read("datacomp", sample("0", {"jpg": b"x", "json": member} | text_member)).text.strip("\ufeff ") == text


@pytest.mark.parametrize("value", ["x\ud83d", b"caf\xe9", ["a"], {"en": "a"}, True, float("inf")])
def test_captions_that_no_text_can_hold_are_left_out_by_all_readers_alike(value: Any) -> None:
    assert reason("kale", {"url": URL, "caption": value}).startswith("not_text: the caption: ")
    assert reason("sbu", {"image_urls": URL, "captions": value}).startswith("not_text: the caption: ")
    assert reason("blip3-ocr", {"url": URL, "captions": value}).startswith("not_text: captions: ")
    if isinstance(value, str):
        assert reason("cc3m", f"{value}\t{URL}").startswith("not_text: the caption: ")


def test_no_row_goes_for_its_uid() -> None:
    captions = {"kale": {"caption": "a"}, "blip3-ocr": {"captions": json.dumps(OCR)}}
    for name, columns in captions.items():
        for value, uid in ((7, "7"), (7.0, "7"), (b"ab", "ab"), ([7], None), ({"a": 1}, None), (float("nan"), None)):
            assert read(name, {"url": URL, "uid": value} | columns).uid == uid


# CC3M and CC12M


def test_cc3m_and_cc12m_have_opposite_columns() -> None:
    for name, line in (("cc3m", f"a cat on a mat\t{URL}\r\n"), ("cc12m", f"{URL}\ta cat on a mat\n")):
        draft = read(name, line)
        assert (draft.text, draft.url, draft.image.source) == ("a cat on a mat", URL, URL)


@pytest.mark.parametrize("name", ["cc3m", "cc12m"])
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a cat", "malformed_row: 1 columns, not 2"),
        ("", "malformed_row: 1 columns, not 2"),
        (f"a\tb\t{URL}", "malformed_row: 3 columns, not 2"),
        ("x" * (1 << 20) + "\t", "malformed_row: a line of 1048577 characters; at most 1048576 are read"),
    ],
)
def test_lines_that_are_left_out(name: str, line: str, fault: str) -> None:
    assert reason(name, line) == fault


def test_swapped_lines_are_left_out() -> None:
    swapped = "malformed_row: the columns are swapped: the caption is a URL"
    assert reason("cc3m", f"{URL}\ta cat") == swapped
    assert reason("cc12m", f"a cat\t{URL}") == swapped
    assert reason("cc12m", "\ta cat") == "missing_image: there is no url"
    assert reason("cc3m", f"\t{URL}") == "no_caption: the caption is empty"
    assert read("cc12m", f"{URL}\thttps://example.org").text == "https://example.org"  # a caption may be a URL


def test_swapped_files_are_refused() -> None:
    captions_first = [f"a cat on mat {number}\t{URL}" for number in range(5)]
    urls_first = [f"{URL}\ta cat on mat {number}" for number in range(5)]
    for name, good, bad, other in (
        ("cc3m", captions_first, urls_first, "cc12m"),
        ("cc12m", urls_first, captions_first, "cc3m"),
    ):
        check = SOURCES.find(name).check
        assert check is not None
        check(good)
        check([])
        check([*good, bad[0], "odd"])
        check([SOURCES.find(name).header or "", *good])
        with pytest.raises(UsageError, match=f"5 of its first 5 lines have a URL for the caption: is it {other}?"):
            check(bad)


def test_headers_are_as_img2dataset_writes_them() -> None:
    assert [SOURCES.find(name).header for name in ("cc3m", "cc12m")] == ["caption\turl", "url\tcaption"]


# SBU


def items(name: str, content: bytes) -> list[Any]:
    found = SOURCES.find(name).items
    assert found is not None
    return list(found(io.BytesIO(content)))


def test_sbu_is_one_object_of_arrays() -> None:
    arrays = {
        "image_urls": [URL, None, "http://a.b/c"],
        "captions": ["one", "two", ""],
        "user_ids": [1, 2, 3],
        "note": "x",
        "short": [1],
    }
    rows = items("sbu", json.dumps(arrays).encode())
    assert len(rows) == 3
    draft = read("sbu", rows[0])
    assert (draft.text, draft.url, draft.metadata) == ("one", URL, '{"user_ids": 1}')
    assert reason("sbu", rows[1]) == "missing_image: there is no url"
    assert reason("sbu", rows[2]) == "no_caption: the caption is empty"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[]", "it is not a JSON object"),
        (b"{", "it is not JSON: "),
        (b'{"captions": []}', "it has no arrays image_urls and captions: is it sbu-captions-all.json?"),
        (b'{"captions": ["a"], "image_urls": []}', "it has 0 image_urls and 1 captions: their numbers must be equal"),
        (b'{"a":' * 100_000, "it is nested too deep"),
    ],
)
def test_files_that_are_not_sbu_are_refused(content: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        items("sbu", content)
    assert str(error.value).startswith(fault)


# Visual Genome


def region(number: int, phrase: Any, **changes: Any) -> dict[str, Any]:
    box = {"x": 10 * number, "y": 5, "width": 30, "height": 40}
    return {"region_id": number, "image_id": 7, "phrase": phrase} | box | changes


def test_visual_genome_joins_phrases_and_keeps_boxes() -> None:
    phrases = ["a red clock", "A red clock.", "two  men\nwalking ", "", "trees"]
    regions = [region(number, phrase) for number, phrase in enumerate(phrases)]
    content = json.dumps([{"id": 7, "regions": regions}]).encode()
    draft = read("visual-genome", items("visual-genome", content)[0])
    assert draft.text == "a red clock. two men walking. trees"
    assert (draft.uid, draft.url, draft.image.source) == ("7", None, "7.jpg")
    regions = json.loads(draft.metadata)["regions"]
    assert len(regions) == 5
    assert regions[2] == {"region_id": 2, "phrase": "two men walking", "x": 20, "y": 5, "width": 30, "height": 40}


@pytest.mark.parametrize("number", [7, 7.0, "7"])
def test_visual_genome_ids_in_any_form(number: Any) -> None:
    draft = read("visual-genome", {"id": number, "regions": [region(0, "trees")]})
    assert (draft.uid, draft.image.source) == ("7", "7.jpg")


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ([], "malformed_row: a list, not an object"),
        ({"regions": []}, "malformed_row: its id is not a whole number"),
        ({"id": "../../x", "regions": []}, "malformed_row: its id is not a whole number"),
        ({"id": 7, "regions": []}, "no_caption: no region has a phrase"),
        ({"id": 7, "regions": {}}, "malformed_row: regions is a dict, not a list"),
        ({"id": 7, "regions": [3]}, "no_caption: no region has a phrase"),
        ({"id": 7, "regions": [region(0, ["a"])]}, "not_text: region 0's phrase: a list, not a text"),
        (
            {"id": 7, "regions": [region(0, "\ud83d")]},
            "not_text: region 0's phrase: half of a surrogate pair at character 0",
        ),
    ],
)
def test_visual_genome_objects_that_are_left_out(item: Any, fault: str) -> None:
    assert reason("visual-genome", item) == fault


def test_a_bad_box_costs_visual_genome_no_phrase() -> None:
    """A region of a null width, one without a box, one that is none: the others stay as they are."""
    bare = {"region_id": 3, "phrase": "bare"}
    regions = [region(0, "one"), region(1, "two", width=None), region(2, "three", x="1"), bare, None, 5, [1]]
    assert read("visual-genome", {"id": 7, "regions": [*regions, region(4, 12)]}).text == "one. two. three. bare. 12"
    draft = read("visual-genome", {"id": 7.0, "regions": regions})
    assert (draft.text, draft.uid, draft.image.source) == ("one. two. three. bare", "7", "7.jpg")
    box = {"x": 0, "y": 5, "width": 30, "height": 40}
    assert json.loads(draft.metadata)["regions"] == [
        {"region_id": 0, "phrase": "one"} | box,
        {"region_id": 1, "phrase": "two"} | box | {"x": 10, "width": None},
        {"region_id": 2, "phrase": "three"} | box | {"x": "1"},
        {"region_id": 3, "phrase": "bare"} | dict.fromkeys(box),
        *[None, 5, [1]],
    ]
    assert read("visual-genome", {"id": None, "image_id": 8, "regions": [bare]}).uid == "8"


# DataComp


def test_datacomp_takes_the_image_as_it_is() -> None:
    about = {"uid": "a" * 32, "url": URL, "caption": "x", "key": "0", "status": "success", "sha256": "f" * 64}
    members = {"jpg": b"\xff\xd8\xff", "json": json.dumps(about).encode(), "txt": "ein Bär".encode()}
    draft = read("datacomp", sample("000000000000", members))
    assert (draft.uid, draft.url, draft.text, draft.alt_text) == ("a" * 32, URL, "ein Bär", "ein Bär")
    assert draft.image.source == b"\xff\xd8\xff"
    assert json.loads(draft.metadata) == {"sha256": "f" * 64}
    del members["jpg"]
    assert reason("datacomp", sample("0", members)) == "missing_image: members: json, txt"


def test_datacomp_takes_images_with_texts_alone() -> None:
    draft = read("datacomp", sample("0", {"jfif": b"\xff\xd8\xff", "txt": b"a cat"}))
    assert (draft.uid, draft.url, draft.text, draft.alt_text, draft.metadata) == (None, None, "a cat", "a cat", "{}")


def sample(key: str, members: dict[str, bytes]) -> TarSample:
    return TarSample(key, 0, {name: Member(f"{key}.{name}", 0, data) for name, data in members.items()})


# BLIP3


OCR = [
    {"text": 'The image contains the text "A"', "granularity": 0, "include_datacomp_raw_cap": False},
    {"text": 'alt The image contains the text "A"', "granularity": 0, "include_datacomp_raw_cap": True},
    {"text": '"<ocr>A</ocr><bbox>[0.1, 0.1][0.2, 0.2]</bbox>"', "granularity": 5, "include_datacomp_raw_cap": False},
]
LITERAL = (
    "[['a cat (in the center)', 0, False], ('a <object>cat</object><bbox>[0.1, 0.1][0.2, 0.2]</bbox>', 2, False), "
    '["it\'s", 1, True]]'
)


def test_blip3_ocr_is_json_chosen_by_granularity() -> None:
    row = {"uid": "u", "url": URL, "captions": json.dumps(OCR), "metadata": '{"entries": []}'}
    draft = read("blip3-ocr", row)
    assert (draft.uid, draft.text, draft.metadata) == ("u", OCR[0]["text"], '{"entries": []}')
    assert json.loads(draft.captions) == OCR
    assert read("blip3-ocr", row, raw_caption=True).text == OCR[1]["text"]
    assert read("blip3-ocr", row, granularity=5).text == OCR[2]["text"]
    assert reason("blip3-ocr", row, granularity=3) == "no_caption: none of granularity 3 without the raw caption"


def test_byte_order_marks_are_removed_from_all_captions_of_a_row() -> None:
    """The trainer may choose any of them."""
    entries = [entry | {"text": f"\ufeff{entry['text']}"} for entry in OCR]
    draft = read("blip3-ocr", {"url": URL, "captions": json.dumps(entries)})
    assert (draft.text, json.loads(draft.captions)) == (OCR[0]["text"], OCR)
    items = [("\ufeffThe image contains dog (in the center)", 0, False), ("\ufeffdog (in the center)", 0, True)]
    draft = read("blip3-grounding", {"url": URL, "captions": repr(items)})
    assert [caption["text"] for caption in json.loads(draft.captions)] == [text[1:] for text, _, _ in items]
    assert draft.text == "dog (in the center)"


def test_blip3_grounding_is_a_python_literal() -> None:
    row = {"url": URL, "captions": LITERAL, "cogvlm_caption": "a cat", "metadata": "{'entries': []}"}
    draft = read("blip3-grounding", row)
    assert (draft.uid, draft.text, draft.alt_text) == (None, "a cat (in the center)", "a cat")
    assert draft.metadata == """{"metadata": "{'entries': []}"}"""
    assert read("blip3-grounding", row | {"metadata": {"entries": []}}).metadata == '{"metadata": {"entries": []}}'
    assert json.loads(draft.captions)[1]["granularity"] == 2
    assert read("blip3-grounding", row, granularity=1, raw_caption=True).text == "it's"


def test_a_grounding_set_over_alt_texts_keeps_them() -> None:
    """Its captions without the alt text are bare lists: what is learnt is the alt text with the places in it."""
    lists = [("The image contains dog (in the center)", 0, False), ("a dog (in the center) runs", 0, True)]
    row = {"url": URL, "captions": repr(lists), "cogvlm_caption": "a dog runs"}
    assert read("blip3-grounding", row).text == "a dog (in the center) runs"
    assert read("blip3-grounding", row, raw_caption=False).text == lists[0][0]  # asked for by name
    assert read("blip3-grounding", row, raw_caption=True).text == lists[1][0]
    # with places in the caption, or with nothing to put them into, it is the one that was asked for
    row["captions"] = repr([("a dog (in the center)", 0, False), ("alt. a dog (in the center)", 0, True)])
    assert read("blip3-grounding", row).text == "a dog (in the center)"
    row["captions"] = repr(lists[:1])
    assert read("blip3-grounding", row).text == lists[0][0]


@pytest.mark.parametrize("value", [b"caf\xe9", "a\ud83d", ["a cat"], {"en": "a cat"}, True])
def test_an_alt_text_that_is_none_costs_no_row(value: Any) -> None:
    row = {"url": URL, "captions": LITERAL, "cogvlm_caption": value}
    assert (read("blip3-grounding", row).text, read("blip3-grounding", row).alt_text) == ("a cat (in the center)", "")
    assert read("blip3-grounding", row | {"cogvlm_caption": b"caf\xc3\xa9"}).alt_text == "café"


def test_blip3_sets_are_not_taken_for_each_other() -> None:
    assert reason("blip3-ocr", {"url": URL, "captions": LITERAL}).startswith("malformed_row: captions is not JSON")
    fault = reason("blip3-grounding", {"url": URL, "captions": json.dumps(OCR)})
    assert fault.startswith("malformed_row: ")
    assert reason("blip3-ocr", {"url": URL, "captions": None}).startswith("malformed_row: captions is not JSON")
    assert reason("blip3-grounding", {"url": None, "captions": LITERAL}) == "missing_image: there is no url"


# whatever comes

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("url", "caption", "captions", "image_urls", "metadata", "uid", "text", "id", "regions", "cogvlm_caption")


@pytest.mark.parametrize("name", ["kale", "sbu", "visual-genome", "blip3-ocr", "blip3-grounding", "text"])
@given(row=st.dictionaries(st.sampled_from(NAMES), values | st.just(URL) | st.just(json.dumps(OCR))))
def test_nothing_but_rejected_comes_of_any_row(name: str, row: dict[str, Any]) -> None:
    with contextlib.suppress(Rejected):
        draft = SOURCES.find(name).read(row, ReadOptions())
        assert isinstance(json.loads(draft.metadata), dict)


@pytest.mark.parametrize("name", ["cc3m", "cc12m", "text"])
@given(line=st.text())
def test_nothing_but_rejected_comes_of_any_line(name: str, line: str) -> None:
    assert reason(name, line).startswith(("malformed_row: ", "missing_image: ", "no_caption: "))
