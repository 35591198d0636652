"""Interleaved sets and text: the traps that the sample data does not hold."""

import contextlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.sources import SOURCES, ReadOptions
from curation.sources.formats import tiff
from curation.sources.obelics import SENTINEL
from schemas.records.document import ParsedDocument
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import Member, TarSample

A, B, C = (f"https://example.org/{name}.jpg" for name in "abc")


def read(name: str, item: Any) -> ParsedDocument:
    draft = SOURCES.find(name).read(item, ReadOptions())
    assert isinstance(draft, ParsedDocument)
    return draft


def reason(name: str, item: Any) -> str:
    with pytest.raises(Rejected) as error:
        SOURCES.find(name).read(item, ReadOptions())
    return str(error.value)


# MINT-1T HTML


def html(**changes: Any) -> dict[str, Any]:
    return {
        "texts": ["one", None, None, "two"],
        "images": [None, A, B, None],
        "image_hashes": ["hash of a", "hash of b"],
        "images_metadata": '[{"alt": "a"}, {"alt": "b"}]',
        "metadata": '{"language": "en"}',
        "url": "https://example.org/page",
        "cc_dump": "CC-MAIN-2024-10",
    } | changes


def about(draft: ParsedDocument) -> list[Any]:
    return [json.loads(image.metadata) for image in draft.images]


def test_hashes_do_not_zip_with_images() -> None:
    draft = read("mint-html", html())
    assert draft.parts == ("one", 0, 1, "two")
    assert [image.source for image in draft.images] == [A, B]
    assert about(draft) == [
        {"hash": "hash of a", "metadata": {"alt": "a"}},
        {"hash": "hash of b", "metadata": {"alt": "b"}},
    ]
    assert json.loads(draft.metadata) == {"metadata": {"language": "en"}, "cc_dump": "CC-MAIN-2024-10"}
    assert draft.url == "https://example.org/page"


def test_hashes_that_do_not_count_up_stay_with_the_document() -> None:
    draft = read("mint-html", html(image_hashes=[None, "x", "y", None], images_metadata="not JSON"))
    assert about(draft) == [{}, {}]
    told = json.loads(draft.metadata)
    assert (told["image_hashes"], told["images_metadata"]) == ([None, "x", "y", None], "not JSON")


@pytest.mark.parametrize("name", ["mint-html", "obelics"])
@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"texts": ["a"], "images": [None, A]}, "malformed_row: 1 texts and 2 images: not one at each place"),
        ({"texts": ["a", "b"], "images": [None, A]}, "malformed_row: part 1: both a text and an image"),
        ({"texts": "ab", "images": []}, "malformed_row: texts is a str, not a list"),
        ({"texts": [True], "images": [None]}, "not_text: part 0: a bool, not a text"),
        ({"texts": [["a"]], "images": [None]}, "not_text: part 0: a list, not a text"),
        ({"texts": [1], "images": [A]}, "malformed_row: part 0: both a text and an image"),
        ({"texts": [None], "images": [3]}, "malformed_row: the image's url is a int, not a text"),
        ({"texts": ["a"] * 100_001}, "malformed_row: texts has 100001 entries; at most 100000 are read"),
    ],
)
def test_rows_that_are_left_out(name: str, row: dict[str, Any], fault: str) -> None:
    assert reason(name, row) == fault


@pytest.mark.parametrize("name", ["mint-html", "obelics"])
def test_null_and_empty_columns(name: str) -> None:
    assert read(name, {"texts": None, "images": None}).parts == ()
    assert read(name, {}).parts == ()
    assert read(name, {"texts": ["a", None, ""], "images": None}).parts == ("a", "")
    assert read(name, {"texts": None, "images": [None, A]}).parts == (0,)


@pytest.mark.parametrize(
    "url", ["", "data:image/gif;base64,R0lGOD", "../../etc/passwd", "file:///etc/passwd", "http://"]
)
def test_what_is_no_web_address_is_a_lost_image(url: str) -> None:
    draft = read("mint-html", html(images=[None, url, B, None]))
    lost, there = draft.images
    assert lost.source == Rejected(Reason.LOST_IMAGE, f"no web address: {url!r}")
    assert there.source == B
    assert draft.parts == ("one", 0, 1, "two")


def test_columns_of_bytes_are_read_as_columns_of_strings() -> None:
    """As Spark writes them. Bytes that are not UTF-8 are the address of no image, and cost the document nothing."""
    for name, row in (("mint-html", html()), ("obelics", obelics([None, f"a {SENTINEL}"], [A, None]))):
        as_bytes = {
            column: [part and part.encode() for part in value] if isinstance(value, list) else value.encode()
            for column, value in row.items()
            if column != "image_hashes"
        }
        assert read(name, as_bytes) == read(name, {column: row[column] for column in as_bytes})
        lost = read(name, row | {"images": [url and (b"\xff" if url == A else url) for url in row["images"]]})
        assert lost.parts == read(name, row).parts
        fault = "the image's url is not UTF-8: invalid start byte at byte 0"
        assert lost.images[0].source == Rejected(Reason.LOST_IMAGE, fault)


def test_numbers_are_texts_and_nan_is_null() -> None:
    row = {"texts": [1, 2.5, float("nan"), None], "images": [None, None, A, None]}
    for name in ("mint-html", "obelics"):
        assert read(name, row).parts == ("1", "2.5", 0)
    assert read("mint-pdf", sample({"texts": [1, None, "a"], "images": [None, None, None]})).parts == ("1", "a")


# OBELICS


def obelics(texts: list[str | None], images: list[str | None], **changes: Any) -> dict[str, Any]:
    told = [url and {"src": url, "alt_text": "alt"} for url in images]
    return {
        "texts": texts,
        "images": images,
        "metadata": json.dumps(told),
        "general_metadata": '{"url": "https://example.org/page", "warc_filename": null}',
    } | changes


def test_consecutive_images_keep_their_metadata() -> None:
    draft = read("obelics", obelics([None, None, "x", None], [A, B, None, C]))
    assert draft.parts == (0, 1, "x", 2)
    assert [(image.source, told["src"]) for image, told in zip(draft.images, about(draft), strict=True)] == [
        (A, A),
        (B, B),
        (C, C),
    ]
    assert draft.url == "https://example.org/page"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"one\n\n{SENTINEL}\n\ntwo", "one\n\ntwo"),
        (f"one\n\n{SENTINEL}\n\n{SENTINEL}\n\ntwo\n\nthree", "one\n\ntwo\n\nthree"),
        (f"{SENTINEL}\n\ntwo", "two"),
        (f"one {SENTINEL}", "one"),
        (SENTINEL, ""),
        ("  kept as it is\n", "  kept as it is\n"),
    ],
)
def test_the_sentinel_becomes_a_paragraph_break(text: str, expected: str) -> None:
    assert read("obelics", obelics([text], [None])).parts == (expected,)


def test_a_hostile_sentinel_takes_no_time() -> None:
    text = (" " * 2000 + SENTINEL[:-1]) * 50 + " " * 100_000
    assert read("obelics", obelics([SENTINEL + text], [None])).parts == (text.strip(),)


def test_slipped_metadata_is_found() -> None:
    row = obelics(["x", None, None], [None, A, B])
    told = json.loads(row["metadata"])
    fault = "malformed_row: part 1: the image is not the one in its metadata"
    assert reason("obelics", row | {"metadata": json.dumps([None, told[2], told[1]])}) == fault
    fault = "malformed_row: part 1: an image without an entry of metadata"
    assert reason("obelics", row | {"metadata": json.dumps([told[1], None, told[2]])}) == fault
    fault = "malformed_row: 3 images and 2 entries of metadata: not one at each place"
    assert reason("obelics", row | {"metadata": json.dumps(told[1:])}) == fault
    assert about(read("obelics", row | {"metadata": None})) == [{}, {}]
    no_source = json.dumps([None, {"src": None}, told[2]])
    assert about(read("obelics", row | {"metadata": no_source})) == [{"src": None}, told[2]]


@pytest.mark.parametrize("told", ["[" * 100_000, "{'single': 'quotes'}", "x", 3, '{"a": 1}', '"x"'])
def test_obelics_loses_no_document_for_what_is_said_about_it(told: Any) -> None:
    row = obelics(["x", None], [None, A])
    draft = read("obelics", row | {"general_metadata": told})
    assert (draft.parts, draft.url, draft.images[0].source) == (("x", 0), None, A)
    expected = {"a": 1} if told == '{"a": 1}' else {"general_metadata": "x" if told == '"x"' else told}
    assert json.loads(draft.metadata) == expected
    draft = read("obelics", row | {"metadata": told})
    assert (draft.parts, draft.url, about(draft)) == (("x", 0), "https://example.org/page", [{}])
    unread = {'{"a": 1}': {"a": 1}, '"x"': "x"}.get(told, told)
    assert json.loads(draft.metadata)["metadata"] == unread


def test_obelics_keeps_an_image_of_which_nothing_is_told() -> None:
    row = obelics(["x", None, None], [None, A, B]) | {"metadata": json.dumps([None, {"src": A}, None])}
    draft = read("obelics", row)
    assert (draft.parts, about(draft)) == (("x", 0, 1), [{"src": A}, {}])
    draft = read("obelics", row | {"general_metadata": '{"url": 3, "a": 1}'})
    assert (draft.url, json.loads(draft.metadata)) == (None, {"url": 3, "a": 1})


@pytest.mark.parametrize("url", [3, ["https://example.org"], {}, 1.5])
def test_no_document_is_lost_for_its_address(url: Any) -> None:
    kept = [("mint-html", html(url=url)), ("mint-pdf", sample(pdf(["page_0_image_1"], [(0, 1)]) | {"url": url}))]
    for name, item in kept:
        draft = read(name, item)
        assert (draft.url, json.loads(draft.metadata)["url"]) == (None, url)


@pytest.mark.parametrize("told", [3, {"a": 1}, "x"])
def test_mint_pdf_loses_no_document_for_its_image_metadata(told: Any) -> None:
    content = pdf(["page_0_image_1", None, "page_0_image_2"], []) | {"image_metadata": told}
    draft = read("mint-pdf", sample(content, colours(10, 20)))
    assert (draft.parts, reds(draft)) == ((0, "t", 1), [10, 20])
    assert json.loads(draft.metadata)["image_metadata"] == told


# MINT-1T PDF and ArXiv


def colours(*values: int) -> bytes:
    images = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in values]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    return file.getvalue()


def sample(content: Any, tiff: bytes | None = None, key: str = "folder/0a1b") -> TarSample:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    members = {"json": data} | ({} if tiff is None else {"tiff": tiff})
    return TarSample(key, 0, {name: Member(f"{key}.{name}", 0, data) for name, data in members.items()})


def pdf(references: list[str | None], places: list[tuple[int, int]]) -> dict[str, Any]:
    return {
        "texts": ["t" if reference is None else None for reference in references],
        "images": references,
        "image_metadata": [{"page": page, "xref": xref, "width": 8, "height": 8} for page, xref in places],
        "pdf_name": "a.pdf",
        "url": "https://example.org/a.pdf",
    }


def reds(draft: ParsedDocument) -> list[Any]:
    """The frame that each image shows, by its colour; of one that is lost, why."""
    return [
        Image.open(io.BytesIO(image.source)).getpixel((0, 0))[0]  # type: ignore[index]
        if isinstance(image.source, bytes)
        else str(image.source)
        for image in draft.images
    ]


def test_frames_come_in_the_order_of_the_images() -> None:
    content = pdf(["page_2_image_9", None, "page_0_image_4", "page_0_image_7"], [(0, 7), (2, 9), (0, 4)])
    draft = read("mint-pdf", sample(content, colours(10, 20, 30)))
    assert draft.parts == (0, "t", 1, 2)
    assert reds(draft) == [10, 20, 30]
    assert draft.uid == "0a1b"
    assert about(draft)[0] == {"reference": "page_2_image_9", "page": 2, "xref": 9, "width": 8, "height": 8}
    assert about(draft)[1]["xref"] == 4
    assert json.loads(draft.metadata) == {"pdf_name": "a.pdf"}


def test_an_image_that_stands_twice_is_one() -> None:
    names = ["page_2_image_9", None, "page_0_image_4", "page_0_image_7", "page_2_image_9"]
    content = pdf(names, [(0, 4), (2, 9), (0, 7)])
    assert reds(read("mint-pdf", sample(content, colours(10, 20, 30)))) == [10, 20, 30, 10]  # a frame for each image
    assert reds(read("mint-pdf", sample(content, colours(10, 20, 30, 40)))) == [10, 20, 30, 10]  # or for each mention


def sized(*frames: tuple[int, int]) -> bytes:
    """A TIFF of frames of these sizes, whose reds are 10, 20, 30, ..."""
    images = [Image.new("RGB", size, (10 * number, 0, 0)) for number, size in enumerate(frames, start=1)]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    return file.getvalue()


def of_pages(names: list[str], entries: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    """Entries are page, xref, width and height."""
    told = [dict(zip(("page", "xref", "width", "height"), entry, strict=True)) for entry in entries]
    return {"texts": [None] * len(names), "images": names, "image_metadata": told}


TALL, WIDE, BIG = (8, 16), (16, 8), (32, 32)
TWO = ["page_0_image_5", "page_0_image_3"]


@pytest.mark.parametrize("frames", [(TALL, WIDE), (WIDE, TALL)])
def test_images_of_one_page_in_either_order(frames: tuple[tuple[int, int], ...]) -> None:
    """The metadata has image 3, a wide one, first: frames come as `images` has them, or as the metadata does."""
    content = of_pages(TWO, [(0, 3, *WIDE), (0, 5, *TALL)])
    draft = read("mint-pdf", sample(content, sized(*frames)))
    assert reds(draft) == ([10, 20] if frames == (TALL, WIDE) else [20, 10])
    assert [(told["xref"], told["width"]) for told in about(draft)] == [(5, 8), (3, 16)]


@pytest.mark.parametrize("form", [float, str, lambda number: number])
def test_sizes_and_places_in_any_form_tell_the_order(form: Callable[[int], Any]) -> None:
    content = of_pages(TWO, [(0, 3, *WIDE), (0, 5, *TALL)])
    content["image_metadata"] = [{name: form(told) for name, told in e.items()} for e in content["image_metadata"]]
    assert reds(read("mint-pdf", sample(content, sized(WIDE, TALL)))) == [20, 10]
    for height in ("?", "9" * 5000):  # that tells nothing
        for entry in content["image_metadata"]:
            entry["height"] = height
        assert reds(read("mint-pdf", sample(content, sized(WIDE, TALL)))) == [10, 20]


def test_images_of_equal_size_come_in_the_order_of_the_images() -> None:
    content = of_pages(TWO, [(0, 3, *WIDE), (0, 5, *WIDE)])
    assert reds(read("mint-pdf", sample(content, sized(WIDE, WIDE)))) == [10, 20]


def test_a_page_whose_sizes_contradict_both_orders_is_lost_and_no_other() -> None:
    names = ["page_0_image_1", *["page_1_image_5", "page_1_image_3", "page_1_image_4"], "page_2_image_1"]
    entries = [(0, 1, *BIG), (1, 3, *WIDE), (1, 4, *TALL), (1, 5, *TALL), (2, 1, *WIDE)]
    draft = read("mint-pdf", sample(of_pages(names, entries), sized(BIG, WIDE, BIG, TALL, WIDE)))
    fault = "lost_image: frame 1 has 16 x 8 pixels, 'page_1_image_5' has 8 x 16"
    assert reds(draft) == [10, fault, fault, fault, 50]
    assert draft.parts == (0, 1, 2, 3, 4)
    alone = of_pages(["page_0_image_1"], [(0, 1, *BIG)])
    assert reds(read("mint-pdf", sample(alone, sized(WIDE)))) == [
        "lost_image: frame 0 has 16 x 8 pixels, 'page_0_image_1' has 32 x 32"
    ]


def test_an_image_without_an_entry_is_lost_with_the_others_of_its_page() -> None:
    names = [*(f"page_0_image_{xref}" for xref in (1, 2, 3)), "page_1_image_3"]
    content = of_pages(names, [(0, 1, *TALL), (0, 2, *WIDE)])
    fault = "lost_image: frame 0 has 32 x 32 pixels, 'page_0_image_1' has 8 x 16"
    assert reds(read("mint-pdf", sample(content, sized(BIG, TALL, WIDE, BIG)))) == [fault, fault, fault, 40]
    assert reds(read("mint-pdf", sample(content, sized(TALL, WIDE, BIG, BIG)))) == [10, 20, 30, 40]
    content["image_metadata"].reverse()
    assert reds(read("mint-pdf", sample(content, sized(WIDE, TALL, BIG, BIG)))) == [20, 10, 30, 40]


def test_one_page_in_the_other_order_alters_no_other_page() -> None:
    names = [f"page_{page}_image_{xref}" for page in range(3) for xref in (2, 1)]
    entries = [(page, xref, *size) for page in range(3) for xref, size in ((1, WIDE), (2, TALL))]
    draft = read("mint-pdf", sample(of_pages(names, entries), sized(TALL, WIDE, WIDE, TALL, TALL, WIDE)))
    assert reds(draft) == [10, 20, 40, 30, 50, 60]


def test_sizes_that_are_not_told_contradict_nothing() -> None:
    content = of_pages(TWO, [(0, 3, *WIDE), (0, 5, *TALL)])
    for entry in content["image_metadata"]:
        del entry["height"]
    assert reds(read("mint-pdf", sample(content, sized(WIDE, TALL)))) == [10, 20]
    content["image_metadata"] = None
    assert reds(read("mint-pdf", sample(content, sized(WIDE, TALL)))) == [10, 20]


def test_frames_of_images_that_no_part_names_lie_where_the_metadata_has_them() -> None:
    entries = [(0, 1, *BIG), (1, 3, *WIDE), (1, 5, *TALL)]
    draft = read("mint-pdf", sample(of_pages(["page_1_image_5"], entries), sized(BIG, TALL, WIDE)))
    assert reds(draft) == [20]
    draft = read("mint-pdf", sample(of_pages(["page_0_image_1"], entries), sized(BIG, TALL, WIDE)))
    assert reds(draft) == [10]
    entries = [(1, 3, *WIDE), (1, 5, *WIDE)]
    draft = read("mint-pdf", sample(of_pages(["page_1_image_5"], entries), sized(WIDE, WIDE)))
    assert reds(draft) == ["lost_image: sizes do not tell which of 2 frames of its page is which image"]


def test_a_reference_without_an_entry_costs_no_other() -> None:
    content = pdf(["page_0_image_4", "page_1_image_1", "page_0_image_7"], [(0, 4), (0, 7)])
    draft = read("mint-pdf", sample(content, colours(10, 30)))
    assert reds(draft) == [10, "lost_image: no entry for 'page_1_image_1'", 30]


def test_frames_that_do_not_count_up_are_lost() -> None:
    content = pdf(["page_0_image_4", None, "page_0_image_7"], [(0, 4), (0, 7)])
    draft = read("mint-pdf", sample(content, colours(10)))
    assert reds(draft) == ["lost_image: 1 frames for 2 images"] * 2
    assert draft.parts == (0, "t", 1)


def test_frames_that_nothing_names_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that do not count up are none of them read, and of the others those that a part refers to, once."""
    read_frames: list[int] = []
    decode = tiff.decode
    monkeypatch.setattr(tiff, "decode", lambda data, limits: read_frames.append(len(data)) or decode(data, limits))
    two = pdf(["page_0_image_4", "page_0_image_4"], [(0, 4), (0, 7)])
    assert reds(read("mint-pdf", sample(two, colours(10, 20)))) == [10, 10]
    assert len(read_frames) == 1
    assert reds(read("mint-pdf", sample(two, colours(*range(200))))) == ["lost_image: 200 frames for 2 images"] * 2
    assert len(read_frames) == 1


@pytest.mark.parametrize("tiff", [None, b"", b"II*\0"])
def test_text_stays_when_the_tiff_is_lost(tiff: bytes | None) -> None:
    draft = read("mint-arxiv", sample(pdf([None, "page_0_image_4"], [(0, 4)]), tiff))
    assert draft.parts == ("t", 0)
    assert [isinstance(image.source, Rejected) for image in draft.images] == [True]


def test_papers_count_their_figures_off() -> None:
    content: dict[str, Any] = {
        "texts": [None, "t", None],
        "images": ["figure_0", None, "figure_1"],
        "image_metadata": [{}, {"name": "b"}],
    }
    draft = read("mint-arxiv", sample(content, colours(10, 20)))
    assert reds(draft) == [10, 20]
    assert about(draft)[1] == {"reference": "figure_1", "name": "b"}
    del content["image_metadata"]
    assert reds(read("mint-arxiv", sample(content, colours(10, 20)))) == [10, 20]
    content["image_metadata"] = [{}]
    fault = "lost_image: 2 images, 1 entries without page and xref"
    assert reds(read("mint-arxiv", sample(content, colours(10)))) == [fault] * 2


def test_papers_may_have_null_texts() -> None:
    assert read("mint-arxiv", sample({"texts": None})).parts == ()
    assert read("mint-arxiv", sample({"texts": [None, None], "images": [None, None]})).parts == ()
    assert read("mint-arxiv", sample({"texts": ["a", None]})).parts == ("a",)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "malformed_row: the .json member is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "malformed_row: the .json member is not a JSON object"),
        (b'{"a":' * 100_000, "malformed_row: the .json member is nested too deep"),
        (b'{"texts": 3}', "malformed_row: texts is a int, not a list"),
        (b'{"images": [3]}', "malformed_row: part 0 is a int, not a text"),
    ],
)
def test_samples_that_are_left_out(content: bytes, fault: str) -> None:
    assert reason("mint-pdf", sample(content)) == fault


def test_samples_without_json_or_with_a_fault_are_left_out() -> None:
    assert reason("mint-pdf", TarSample("a", 0)) == "missing_metadata: no .json member"
    damaged = sample({})
    damaged.mark_faulty(Reason.INCOMPLETE, "cut")
    assert reason("mint-pdf", damaged) == "incomplete: cut"


def test_lone_surrogates_leave_a_text_out_but_not_what_is_said_about_it() -> None:
    fault = "not_text: part 0: half of a surrogate pair at character 1"
    for name in ("mint-pdf", "mint-html", "obelics"):
        row = b'{"texts": ["a\\ud83d"], "images": [null]}'
        assert reason(name, sample(row) if name == "mint-pdf" else json.loads(row)) == fault
    draft = read("mint-pdf", sample(b'{"texts": ["\\ufeffa"], "images": [null], "x": "\\udc00"}'))
    assert (draft.parts, draft.metadata) == (("a",), '{"x": "?"}')


# text


def test_text_is_a_document_of_one_part() -> None:
    line = json.dumps({"text": "Ä\nb", "id": 12, "url": A, "language": "de"})
    for item in (line, line.encode(), json.loads(line)):
        draft = read("text", item)
        assert (draft.parts, draft.uid, draft.url, draft.images) == (("Ä\nb",), "12", A, ())
        assert json.loads(draft.metadata) == {"language": "de"}


def test_text_is_kept_whatever_is_beside_it() -> None:
    for item, parts, uid in (
        ({"text": 5, "id": 12.0, "url": ["x"]}, ("5",), "12"),
        ({"text": b"a", "uid": {"$oid": "a"}, "id": "b"}, ("a",), "b"),
        ("\ufeff" + json.dumps({"text": "\ufeff a", "uid": 3, "url": "\ud800"}), (" a",), "3"),
    ):
        draft = read("text", item)
        assert (draft.parts, draft.uid) == (parts, uid)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ({"text": None}, "malformed_row: there is no text"),
        ({"text": True}, "not_text: text: a bool, not a text"),
        ({"text": b"caf\xe9"}, "not_text: text: not UTF-8: unexpected end of data at byte 3"),
        (r'{"text": "a\ud83d"}', "not_text: text: half of a surrogate pair at character 1"),
        ({"content": "a"}, "malformed_row: there is no text"),
        ({"text": ["a"]}, "not_text: text: a list, not a text"),
        ("", "malformed_row: the line is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('"a"', "malformed_row: the line is not a JSON object"),
    ],
)
def test_text_that_is_left_out(item: Any, fault: str) -> None:
    assert reason("text", item) == fault


# whatever comes

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.just(A)
    | st.just("page_0_image_1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["page", "xref", "src"]), inner),
    max_leaves=8,
)
NAMES = ("texts", "images", "metadata", "image_hashes", "images_metadata", "general_metadata", "image_metadata", "url")


@pytest.mark.parametrize("name", ["mint-html", "obelics", "mint-pdf", "mint-arxiv"])
@given(row=st.dictionaries(st.sampled_from(NAMES), values | values.map(json.dumps)))
def test_nothing_but_rejected_comes_of_any_row(name: str, row: dict[str, Any]) -> None:
    with contextlib.suppress(Rejected):
        draft = read(name, sample(row, colours(1)) if name in ("mint-pdf", "mint-arxiv") else row)
        assert sum(isinstance(part, int) for part in draft.parts) == len(draft.images)
        assert isinstance(json.loads(draft.metadata), dict)
