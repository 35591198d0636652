"""The words: ids that transformers counts on, and a spelling for everything."""

import pytest
from transformers import BertTokenizer
from transformers.models.grounding_dino.modeling_grounding_dino import SPECIAL_TOKENS

from curation.demo_detector.batches import PromptEncoder
from curation.demo_detector.model import build_tokenizer
from curation.demo_detector.score import WEIGHTS
from curation.demo_detector.vocabulary import LABELS, build_wordpieces, strip_colour


def test_ids_that_split_prompts() -> None:
    pieces = build_wordpieces()
    assert [pieces[index] for index in SPECIAL_TOKENS] == ["[CLS]", "[SEP]", ".", "?"]
    assert (pieces[0], pieces[100], len(pieces), len(set(pieces))) == ("[PAD]", "[UNK]", 1030, 1030)


@pytest.mark.parametrize("words", [build_tokenizer(), BertTokenizer.from_pretrained(WEIGHTS)])
def test_labels_are_whole_words(words: BertTokenizer) -> None:
    assert len(words) == 1030
    assert len(LABELS) == 76
    for label in LABELS:
        assert words.tokenize(label) == label.split()
    assert words.tokenize("Dog, 7 cafés") == ["d", "##o", "##g", ",", "7", "c", "##a", "##f", "##e", "##s"]


def test_a_prompt_is_what_the_tokenizer_makes_of_it() -> None:
    ids, places = PromptEncoder(build_tokenizer()).encode(["red circle", "xylophone", "house"])
    assert ids == build_tokenizer()("red circle. xylophone. house.").input_ids
    assert [len(place) for place in places] == [2, 9, 1]
    assert [ids[place.stop] for place in places] == [1012] * 3


def test_nouns() -> None:
    assert [strip_colour(label) for label in ("red circle", "circle", "stop sign")] == ["circle", "circle", "stop sign"]
