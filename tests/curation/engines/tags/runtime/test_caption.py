"""Mentions and their spans, worked out by hand, and laws that hold for all texts."""

import hashlib
import unicodedata
from pathlib import Path

import lemminflect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.mentions import find_mentions
from curation.engines.tags.caption_settings import CaptionTagSettings
from curation.engines.tags.runtime.caption import CaptionTags
from curation.engines.tags.vocabulary import read_vocabulary, split_words
from schemas.records.tag import Tag

ENGINE = CaptionTags()


def mentions(caption: str, engine: CaptionTags = ENGINE) -> list[tuple[str, str]]:
    """Name and mention as written, of each tag."""
    return [(tag.name, caption[tag.start : tag.end]) for tag in engine.tag_caption(caption)]


def with_vocabulary(folder: Path, *names: str) -> CaptionTags:
    file = folder / "tags.txt"
    file.write_text("\n".join(names), "utf-8")
    return CaptionTags(CaptionTagSettings(vocabulary=str(file)))


def test_tags_in_full() -> None:
    assert ENGINE.annotate([], ["Two dogs on a couch; DOG.", "", "nothing of note"]) == [
        [
            Tag("dog", 1.0, "caption", 4, 8),
            Tag("couch", 1.0, "caption", 14, 19),
            Tag("dog", 1.0, "caption", 21, 24),
        ],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        # never a part of another word
        ("category scar carpetbag doggerel catcher2 scarcity", []),
        ("cat, car; (dog)", [("cat", "cat"), ("car", "car"), ("dog", "dog")]),
        ("cat9 9cat caté écat cat\u0301 cat猫", [("cat", "cat")]),
        # longest match first, in characters; then the leftmost
        ("a hot dog stand", [("hot dog stand", "hot dog stand")]),
        ("a hot dog, a dog", [("hot dog", "hot dog"), ("dog", "dog")]),
        ("red wine glasses", [("wine glass", "wine glasses")]),
        ("police car park bench", [("police car", "police car"), ("park bench", "park bench")]),
        ("a double-decker bus stop", [("double-decker bus", "double-decker bus")]),
        # lemmas, of the last word
        ("Traffic-Lights, TRAFFIC LIGHTS", [("traffic light", "Traffic-Lights"), ("traffic light", "TRAFFIC LIGHTS")]),
        ("people, men, women", [("person", "people"), ("man", "men"), ("woman", "women")]),
        ("children, feet, teeth", [("child", "children"), ("foot", "feet"), ("tooth", "teeth")]),
        ("mice, geese, leaves", [("mouse", "mice"), ("goose", "geese"), ("leaf", "leaves")]),
        ("knives, oxen, firemen", [("knife", "knives"), ("ox", "oxen"), ("fireman", "firemen")]),
        ("Christmas trees on shelves", [("christmas tree", "Christmas trees"), ("shelf", "shelves")]),
        ("a glass, glasses", [("glass", "glass"), ("glasses", "glasses")]),
        ("wine glasses, glasses of wine", [("wine glass", "wine glasses"), ("glasses", "glasses"), ("wine", "wine")]),
        ("scissors, jeans, sheep", [("scissors", "scissors"), ("jeans", "jeans"), ("sheep", "sheep")]),
        # hyphens, apostrophes, file names; nothing reaches over other punctuation
        ("the dog's bowl, the dogs’ bowls", [("dog", "dog"), ("bowl", "bowl"), ("dog", "dogs"), ("bowl", "bowls")]),
        ("t-shirt T Shirts t_shirt", [("t-shirt", "t-shirt"), ("t-shirt", "T Shirts"), ("t-shirt", "t_shirt")]),
        ("red_car_2.jpg", [("car", "car")]),
        ("traffic, light. hot/dog hot - dog traffic -light", [("dog", "dog"), ("dog", "dog")]),
        ("hot \n\t dog", [("hot dog", "hot \n\t dog")]),
        # spans hold whatever stands before
        ("İİİ ßßß ﬁﬁ 🐕‍🦺 e\u0301 dog", [("dog", "dog")]),
        ("ﬁsh ＤＯＧＳ wa\u00adter", [("fish", "ﬁsh"), ("dog", "ＤＯＧＳ"), ("water", "wa\u00adter")]),
        ("Ein Hund, un chien, собака, 犬, كلب", []),
        ("no dogs allowed", [("dog", "dogs")]),  # said in the module's docstring
    ],
)  # fmt: skip
def test_mentions(caption: str, found: list[tuple[str, str]]) -> None:
    assert mentions(caption) == found


def test_spans_are_in_characters() -> None:
    assert ENGINE.tag_caption("🚗🚗 ﬃ İ a Hot-Dog") == [Tag("hot dog", 1.0, "caption", 9, 16)]


def test_scripts_without_spaces_match_within_a_run(tmp_path: Path) -> None:
    engine = with_vocabulary(tmp_path, "猫", "猫バス", "交通信号", "ネコ", "고양이", "cat")
    assert mentions("黒猫が猫バスに乗る", engine) == [("猫", "猫"), ("猫バス", "猫バス")]
    assert mentions("这是交通信号灯", engine) == [("交通信号", "交通信号")]
    assert mentions("ﾈｺcatネコ", engine) == [("ネコ", "ﾈｺ"), ("cat", "cat"), ("ネコ", "ネコ")]
    assert mentions("고양이 고양이가 scatネ", engine) == [("고양이", "고양이")]


def test_names_stay_as_the_file_spells_them(tmp_path: Path) -> None:
    engine = with_vocabulary(tmp_path, "St. Bernard", "Café-Table", "Σίσυφος")
    assert mentions("ST. BERNARDS, st bernard, CAFE\u0301 TABLES, ΣΊΣΥΦΟΣ", engine) == [
        ("St. Bernard", "ST. BERNARDS"),
        ("Café-Table", "CAFE\u0301 TABLES"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ]


def test_the_first_entry_has_a_plural_that_two_share(tmp_path: Path) -> None:
    assert mentions("axes", with_vocabulary(tmp_path, "axis", "axe")) == [("axis", "axes")]
    assert mentions("axes", with_vocabulary(tmp_path, "axe", "axis")) == [("axe", "axes")]
    assert mentions("axes", with_vocabulary(tmp_path, "axe", "axis", "axes")) == [("axes", "axes")]


def test_every_entry_is_found_and_so_is_its_plural() -> None:
    for name in ENGINE.vocabulary.names:
        assert mentions(f"a photo of a {name}") == [(name, name)]
        *before, last = name.split(" ")
        stem, hyphen, end = last.rpartition("-")
        plural = " ".join([*before, stem + hyphen + lemminflect.getInflection(end, "NNS")[0]])
        other = {"glass": "glasses"}.get(name, name)  # an entry itself
        assert mentions(f"A photo of the {plural}.") == [(other, plural)]


def test_more_words_than_one_character_could_number(tmp_path: Path) -> None:
    numbers = [f"thing{number}" for number in range(70_000)]
    engine = with_vocabulary(tmp_path, *numbers)
    assert mentions("thing0 thing69999 thing70000 thing65s", engine) == [("thing0", "thing0"), ("thing69999",) * 2]


def test_fingerprint_is_of_the_vocabulary_not_of_its_place(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = with_vocabulary(tmp_path, "dog"), with_vocabulary(tmp_path / "other", "dog")
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint.name == "caption"
    assert first.fingerprint.settings == {}
    assert first.fingerprint.weights_sha256 == hashlib.sha256(b"dog").hexdigest()
    assert ENGINE.fingerprint.weights_sha256 == read_vocabulary().sha256
    assert "pyahocorasick" in first.fingerprint.version


PIECES = st.sampled_from(
    ["hot", "dog", "Dogs", "stand", "t", "shirt", "glasses", "wine", "猫", "́", "İ", "ﬁ", " ", " ", "-"]
)
CAPTIONS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.characters()), max_size=20).map("".join))


@given(CAPTIONS)
def test_any_text_has_sound_tags(caption: str) -> None:
    free = 0
    for tag in ENGINE.tag_caption(caption):
        assert tag.start is not None
        assert tag.end is not None
        assert free <= tag.start < tag.end <= len(caption)
        free = tag.end
        before, after = caption[: tag.start][-1:], caption[tag.end :][:1]
        for neighbour in (before, after):  # within a run of letters only beside scripts without spaces
            assert not neighbour.isalnum() or unicodedata.east_asian_width(neighbour) in ("W", "H")
        words, name = split_words(caption[tag.start : tag.end]), split_words(tag.name)
        assert words[:-1] == name[:-1]
        lemmas = {words[-1], *lemminflect.getLemma(words[-1], "NOUN")}
        assert name[-1] in lemmas or (words[-1], name[-1]) in {("people", "person"), ("oxen", "ox")}


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> CaptionTags:
    return with_vocabulary(tmp_path_factory.mktemp("letters"), "a", "b", "a b", "b c", "a b a b", "c a")


@given(words=st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=12))
def test_longest_first_as_by_trying_them_all(letters: CaptionTags, words: list[str]) -> None:
    caption, names = " ".join(words), letters.vocabulary.names

    def longest_first(text: str) -> list[str]:
        places = [(j - i, -i, j) for j in range(len(text) + 1) for i in range(j) if text[i:j] in names]
        if not places:
            return []
        _, minus_start, end = max(places)
        start = -minus_start
        return [*longest_first(text[:start].rstrip()), text[start:end], *longest_first(text[end + 1 :])]

    assert [name for name, _ in mentions(caption, letters)] == longest_first(caption)


def test_the_longest_is_counted_in_characters(tmp_path: Path) -> None:
    engine = with_vocabulary(tmp_path, "red car", "car park attendant", "a b c d", "d wheelbarrow")
    assert mentions("a red car park attendant", engine) == [("car park attendant", "car park attendant")]
    assert mentions("a b c d wheelbarrow, a  b  c      d wheelbarrow", engine) == [
        ("d wheelbarrow", "d wheelbarrow"),
        ("a b c d", "a  b  c      d"),
    ]


CARS = ("red", "red car", "car", "car park", "park", "car park attendant", "attendant")


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> CaptionTags:
    return with_vocabulary(tmp_path_factory.mktemp("cars"), *CARS)


@given(words=st.lists(st.sampled_from(["red", "Car", "park", "cars", "attendant", "of", ","]), max_size=12))
def test_one_rule_with_the_captions(cars: CaptionTags, words: list[str]) -> None:
    caption = " ".join(words)
    found = [(mention.label, mention.start, mention.end) for mention in find_mentions(caption, CARS)]
    assert [(tag.name, tag.start, tag.end) for tag in cars.tag_caption(caption)] == found
