"""The words: ids that transformers counts on, and a spelling for everything."""

import pytest
from transformers import BertTokenizer
from transformers.models.grounding_dino.modeling_grounding_dino import SPECIAL_TOKENS

from curation.demo_detector.batches import Pieces
from curation.demo_detector.model import tokenizer
from curation.demo_detector.score import WEIGHTS
from curation.demo_detector.vocabulary import LABELS, noun, wordpieces


def test_ids_that_split_prompts() -> None:
    pieces = wordpieces()
    assert [pieces[index] for index in SPECIAL_TOKENS] == ["[CLS]", "[SEP]", ".", "?"]
    assert (pieces[0], pieces[100], len(pieces), len(set(pieces))) == ("[PAD]", "[UNK]", 1030, 1030)


@pytest.mark.parametrize("words", [tokenizer(), BertTokenizer.from_pretrained(WEIGHTS)])
def test_labels_are_whole_words(words: BertTokenizer) -> None:
    assert len(words) == 1030
    assert len(LABELS) == 76
    for label in LABELS:
        assert words.tokenize(label) == label.split()
    assert words.tokenize("Dog, 7 cafés") == ["d", "##o", "##g", ",", "7", "c", "##a", "##f", "##e", "##s"]


def test_a_prompt_is_what_the_tokenizer_makes_of_it() -> None:
    ids, places = Pieces(tokenizer()).prompt(["red circle", "xylophone", "house"])
    assert ids == tokenizer()("red circle. xylophone. house.").input_ids
    assert [len(place) for place in places] == [2, 9, 1]
    assert [ids[place.stop] for place in places] == [1012] * 3


def test_nouns() -> None:
    assert [noun(label) for label in ("red circle", "circle", "stop sign")] == ["circle", "circle", "stop sign"]
