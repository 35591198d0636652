"""What stands at each position of a segment, and what is learnt: exactly the words that should be."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import ROLES, Document, Role
from tests.training.support.sets import TOKENS_PER_TILE, captioned, document, tokenizer
from training.batch import IGNORE_INDEX
from training.data.chat import ChatTemplate
from training.data.markup import Markup
from training.data.options import DEFAULT_SYSTEM_PROMPT, DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.samples import SampleTokenizer, Segment
from training.model.config import PromptOptions
from training.model.tokens import TextTokenizer

SHOWN = "<image>" * TOKENS_PER_TILE


@pytest.fixture
def words(tmp_path: Path) -> TextTokenizer:
    return tokenizer(tmp_path)[0]


def reader(words: TextTokenizer, **changes: Any) -> SampleTokenizer:
    options = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}, "system_prompt": None} | changes)
    return SampleTokenizer(words, Markup.from_tokenizer(words, options, TOKENS_PER_TILE), 0)


def segment(words: TextTokenizer, record: CaptionedImage | Document, **changes: Any) -> Segment:
    images = 1 if isinstance(record, CaptionedImage) else len(record.images)
    found = reader(words, **changes).tokenize(record, SourceTextOptions(), Piece(), [1] * images)
    assert found is not None
    return found


def learnt(words: TextTokenizer, found: Segment) -> str:
    """What is predicted, in order; a stop where something between is not."""
    labels = found.build_labels().tolist()
    assert [label for label in labels if label != IGNORE_INDEX] == [
        number for number, is_learnt in zip(found.ids[1:], found.loss_mask[1:], strict=True) if is_learnt
    ]
    runs, held = [], []
    for label in [*labels, IGNORE_INDEX]:
        if label == IGNORE_INDEX and held:
            runs.append(words.decode(held))
            held = []
        elif label != IGNORE_INDEX:
            held.append(label)
    return "|".join(runs)


def test_a_captioned_image(words: TextTokenizer) -> None:
    found = segment(words, captioned(1, "A cat."))
    assert words.decode(found.ids) == f"{SHOWN}A cat.<|endofchunk|><|endoftext|>"
    assert learnt(words, found) == "A cat.<|endofchunk|><|endoftext|>"
    assert found.build_labels()[TOKENS_PER_TILE - 1] == ord("A")  # the last of an image's positions says the first word
    assert words.decode(segment(words, captioned(1, "A"), end_of_chunk=False).ids) == f"{SHOWN}A<|endoftext|>"


def test_a_document(words: TextTokenizer) -> None:
    found = segment(words, document(1, ["One", "two", (64, 48), "three", (48, 64), (64, 48), "<image>"]))
    assert words.decode(found.ids) == (
        f"One\ntwo{SHOWN}three<|endofchunk|>{SHOWN}<|endofchunk|>{SHOWN}<image><|endofchunk|><|endoftext|>"
    )
    assert found.images == [0, 1, 2]
    assert words.special.image not in found.ids[-9:]  # the last `<image>` is letters
    assert learnt(words, found) == "ne\ntwo|three<|endofchunk|>|<|endofchunk|>|<image><|endofchunk|><|endoftext|>"


def test_a_text(words: TextTokenizer) -> None:
    found = segment(words, document(1, ["Words"]))
    assert (words.decode(found.ids), learnt(words, found)) == ("Words<|endoftext|>", "ords<|endoftext|>")


def test_only_the_assistant_is_learnt(words: TextTokenizer) -> None:
    talk = document(
        1,
        ["Be short.", (64, 48), "What?", "A <|end|> cat.", "And", (48, 64), "?", "A dog."],
        ["system", "user", "user", "assistant", "user", "user", "user", "assistant"],
    )
    found = segment(words, talk)
    assert words.decode(found.ids) == (
        f"<|system|>\nBe short.<|end|>\n<|user|>\n{SHOWN}\nWhat?<|end|>\n<|assistant|>\nA <|end|> cat.<|end|>\n"
        f"<|user|>\nAnd{SHOWN}\n?<|end|>\n<|assistant|>\nA dog.<|end|>\n"
    )
    assert learnt(words, found) == "A <|end|> cat.<|end|>\n|A dog.<|end|>\n"
    end = words.find_special_id("<|end|>")
    assert found.ids.count(end) == 5  # not the one that is said


def test_a_system_text_comes_before_conversations_without_one(words: TextTokenizer) -> None:
    talk = document(1, ["Hi", "Hello"], ["user", "assistant"])
    found = segment(words, talk, system_prompt=DEFAULT_SYSTEM_PROMPT)
    assert (
        words.decode(found.ids)
        == f"<|system|>\n{DEFAULT_SYSTEM_PROMPT}<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n"
    )
    assert learnt(words, found) == "Hello<|end|>\n"


def test_one_turn_and_three_and_none(words: TextTokenizer) -> None:
    turns = ["a", "b", "c", "d", "e", "f"]
    assert learnt(words, segment(words, document(1, turns[:2], ["user", "assistant"]))) == "b<|end|>\n"
    three = segment(words, document(1, turns, ["user", "assistant"] * 3))
    assert learnt(words, three) == "b<|end|>\n|d<|end|>\n|f<|end|>\n"
    assert learnt(words, segment(words, document(1, ["a"], ["user"]))) == ""


def test_context_is_the_assistants_and_not_learnt(words: TextTokenizer) -> None:
    roles: list[Role] = ["user", "context", "user", "assistant"]
    found = segment(words, document(1, ["a", "b", "c", "d"], roles))
    plain = segment(words, document(1, ["a", "b", "c", "d"], ["user", "assistant"] * 2))
    assert found.ids == plain.ids
    assert (learnt(words, plain), learnt(words, found)) == ("b<|end|>\n|d<|end|>\n", "d<|end|>\n")
    chat = reader(words, system_prompt=None).markup.chat
    assert chat.count_overhead(roles, 1) == chat.count_overhead(["user", "assistant"] * 2, 1)


def test_roles_by_name_where_the_tokenizer_has_no_markers(tmp_path: Path) -> None:
    plain = Tokenizer(WordLevel({"[UNK]": 0, "</s>": 1}, unk_token="[UNK]"))
    plain.pre_tokenizer = Whitespace()
    plain.save(str(tmp_path / "tokenizer.json"))
    chat = ChatTemplate.from_prompts(TextTokenizer((tmp_path / "tokenizer.json").read_bytes()), PromptOptions())
    assert chat.beginnings == chat.openings == dict.fromkeys(ROLES, (0, 0))  # a name and a colon
    assert (chat.closings, chat.after_image, chat.end) == (dict.fromkeys(ROLES, (1,)), (), ())
    assert chat.note == (
        "the tokenizer has no chat template: turns begin with User: and Assistant:; data.template sets others"
    )


def test_overhead_is_what_the_template_adds(words: TextTokenizer) -> None:
    for roles in (["user", "assistant"], ["system", "user", "user", "assistant", "user"]):
        talk = document(1, ["abc"] * len(roles) + [(64, 48)], [*roles, "user"])
        found = segment(words, talk, system_prompt="Be kind.")
        chat = reader(words, system_prompt="Be kind.").markup.chat
        assert len(found.ids) == 3 * len(roles) + TOKENS_PER_TILE + chat.count_overhead(
            json.loads(json.dumps([*roles, "user"])), 1
        )
