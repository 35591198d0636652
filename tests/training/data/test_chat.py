"""A conversation's tokens are those of its chat template as transformers renders it, and as many as were counted."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from schemas.errors import UsageError
from schemas.records.document import Document, Role
from tests.training.support import chat_templates, tiny
from tests.training.support.chat_templates import CHATML, GEMMA, LLAMA2, LLAMA3, OLD_PHI3, QWEN2, VICUNA
from tests.training.support.sets import TOKENS_PER_TILE, document
from training.batch import IGNORE_INDEX
from training.data.markup import Markup
from training.data.options import DataOptions, SourceTextOptions
from training.data.pieces import Piece
from training.data.samples import SampleTokenizer
from training.model.tokens import TextTokenizer, load_tokenizer

ALL = chat_templates.PUBLISHED | {"old_phi3": OLD_PHI3, "qwen2": QWEN2, "llama2": LLAMA2}
MERGED = (GEMMA, OLD_PHI3)  # they have no system turn
TURNS = ["What is it?", "A cat <b>.", "And now?", "</s> Two\ncats", "Sure?", "Yes"]
ENDS = {
    "chatml": "<|im_end|>\n",
    "llama3": "<|eot_id|>",
    "phi3": "<|end|>\n",
    "vicuna": "</s>\n",
    "mistral": "</s>",
    "gemma": "<end_of_turn>\n",
    "old_phi3": "<|end|>\n",
    "qwen2": "<|im_end|>\n",
    "llama2": " </s>",
}


@cache
def folder(name: str) -> Path:
    return chat_templates.write_tokenizer(Path(mkdtemp()), ALL[name])


@cache
def theirs(name: str) -> Any:
    """The tokenizer as transformers has it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder(name)), local_files_only=True)


def reader(words: TextTokenizer, **changes: Any) -> SampleTokenizer:
    options = DataOptions.model_validate({"sources": {"a": "a"}, "weights": {"a": 1}, "system_prompt": None} | changes)
    return SampleTokenizer(words, Markup.from_tokenizer(words, options, TOKENS_PER_TILE), 0)


def talk(turns: int, system: str | None = None) -> Document:
    roles: list[Role] = ["user", "assistant"] * 3
    head: list[Role] = [] if system is None else ["system"]
    return document(1, [*([] if system is None else [system]), *TURNS[:turns]], [*head, *roles[:turns]])


def make(own: SampleTokenizer, record: Document) -> tuple[list[int], str]:
    """The tokens, and what is learnt of them; they are as many as were counted."""
    found = own.tokenize(record, SourceTextOptions(), Piece(), [1] * len(record.images))
    assert found is not None
    assert record.roles is not None
    texts = sum(len(own.tokenizer.encode(part)) for part in record.parts if isinstance(part, str))
    planned = own.markup.chat.count_overhead(record.roles, len(record.images)) + texts
    assert len(found.ids) == planned + TOKENS_PER_TILE * len(record.images)
    return found.ids, own.tokenizer.decode([label for label in found.build_labels() if label != IGNORE_INDEX])


def render(name: str, record: Document, prompt: str | None = None) -> tuple[str, list[int]]:
    """What transformers makes of a conversation without images."""
    assert record.roles is not None
    said = [{"role": role, "content": str(part)} for role, part in zip(record.roles, record.parts, strict=True)]
    if prompt is not None:
        said = [{"role": "system", "content": prompt}, *said]
    if ALL[name] in MERGED and said[0]["role"] == "system":
        said[1] = {"role": "user", "content": f"{said[0]['content']}\n\n{said[1]['content']}"}
        said = said[1:]
    ids: list[int] = theirs(name).apply_chat_template(said, tokenize=True, return_dict=False)
    return theirs(name).apply_chat_template(said, tokenize=False), ids


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("turns", [2, 6])
@pytest.mark.parametrize("system", [None, "Be kind."])
def test_tokens_are_those_of_the_template(name: str, turns: int, system: str | None) -> None:
    own = reader(load_tokenizer(tiny.options(folder(name))))
    record = talk(turns, system)
    ids, learnt = make(own, record)
    text, _ = render(name, record)
    assert own.tokenizer.decode(ids) == text
    assert learnt == "".join(said + ENDS[name] for said in TURNS[1:turns:2])
    if turns == 2:  # the longer one says `</s>`, which transformers takes for the token
        assert ids == render(name, record)[1]


@pytest.mark.parametrize("name", ALL)
def test_the_recipes_system_text_is_a_system_turn(name: str) -> None:
    own = reader(load_tokenizer(tiny.options(folder(name))), system_prompt="Be kind.")
    ids, _ = make(own, talk(4))
    assert own.tokenizer.decode(ids) == render(name, talk(4), "Be kind.")[0]
    assert ids == make(reader(own.tokenizer), talk(4, "Be kind."))[0]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("prompt", [None, "Be kind."])
def test_odd_conversations_are_as_long_as_counted(name: str, prompt: str | None) -> None:
    """Turns that a template may refuse, context that is not learnt, and images."""
    own = reader(load_tokenizer(tiny.options(folder(name))), system_prompt=prompt)
    odd: list[tuple[list[str | tuple[int, int]], list[Role]]] = [
        (["a"], ["user"]),
        (["a"], ["assistant"]),
        (["s"], ["system"]),
        (["a", "b", "c"], ["assistant", "user", "assistant"]),
        (["a", "s", "b", "c"], ["user", "system", "user", "assistant"]),
        (["s", "b", "c"], ["system", "assistant", "user"]),
        (["a", "b", "c"], ["user", "context", "assistant"]),
        ([(64, 48), "a", (48, 64), "b"], ["user", "user", "user", "assistant"]),
    ]
    for parts, roles in odd:
        _, learnt = make(own, document(1, parts, roles))
        assert learnt == "".join(
            f"{said}{ENDS[name]}" for said, role in zip(parts, roles, strict=True) if role == "assistant"
        ).removeprefix("" if own.markup.chat.find_opening(None, roles[0]) else "a")  # no token says what to begin with


def test_images_stand_before_a_line_break(tmp_path: Path) -> None:
    own = reader(chat_templates.load(tmp_path, GEMMA))
    ids, _ = make(own, document(1, [(64, 48), "What?", "A cat"], ["user", "user", "assistant"]))
    shown = "<image>" * TOKENS_PER_TILE
    assert own.tokenizer.decode(ids) == (
        f"<bos><start_of_turn>user\n{shown}\nWhat?<end_of_turn>\n<start_of_turn>model\nA cat<end_of_turn>\n"
    )


TEMPLATE = {
    "user": {"opening": "<|im_start|>human\n", "closing": "<|im_end|>"},
    "assistant": {"opening": "<|im_start|>gpt\n", "closing": "<|im_end|>"},
}


def test_the_recipes_template_goes_before_the_tokenizers(tmp_path: Path) -> None:
    words = chat_templates.load(tmp_path, CHATML)
    plain = "<|im_start|>human\nWhat is it?<|im_end|><|im_start|>gpt\nA cat <b>.<|im_end|>"
    assert words.decode(make(reader(words, template=TEMPLATE), talk(2))[0]) == plain
    whole = TEMPLATE | {"start": "[", "end": "]", "system": {"opening": "<|im_start|>S:", "closing": "<|im_end|>"}}
    ids, learnt = make(reader(words, template=whole, system_prompt="Be kind."), talk(2))
    assert words.decode(ids) == f"[<|im_start|>S:Be kind.<|im_end|>{plain}]"
    assert learnt == "A cat <b>.<|im_end|>"
    merged = make(reader(words, template=TEMPLATE, system_prompt="Be kind."), talk(2))[0]
    assert words.decode(merged) == plain.replace("What", "Be kind.\n\nWhat")
    assert reader(words, template=TEMPLATE).markup.chat.note == (
        "the chat template has no system turn: its words go before the user's first ones"
    )
    with pytest.raises(UsageError, match=r"^chat template: 'See <image><.*' has the token of an image; write data\.te"):
        reader(words, template=TEMPLATE | {"start": "See <image>"})
    with pytest.raises(ValueError, match=r"assistant.closing is empty: the model would never learn to end its turn"):
        reader(words, template=TEMPLATE | {"assistant": {"opening": "gpt: "}})


def test_a_template_that_is_refused_is_no_matter_without_conversations(tmp_path: Path) -> None:
    words = chat_templates.load(tmp_path, CHATML, chat_template=chat_templates.QWEN3)
    own = reader(words)
    found = own.tokenize(document(1, ["A text"]), SourceTextOptions(), Piece(), [])
    assert found is not None
    assert words.decode(found.ids) == "A text<|im_end|>"
    with pytest.raises(UsageError, match=r"^tokenizer: its chat template can't be split into turns: .* as data\.templ"):
        own.tokenize(talk(2), SourceTextOptions(), Piece(), [])
    plain = "<|im_start|>human\nWhat is it?<|im_end|><|im_start|>gpt\nA cat <b>.<|im_end|>"
    assert words.decode(make(reader(words, template=TEMPLATE), talk(2))[0]) == plain


BOS = "<|begin_of_text|>"


@pytest.mark.parametrize(
    ("bos", "adds", "document_has", "conversation_has"),
    [
        ("auto", None, False, True),  # the template has one, the tokenizer adds none
        ("auto", True, True, True),
        (True, None, True, True),
        (False, True, False, False),
    ],
)
def test_bos(tmp_path: Path, bos: Any, adds: bool | None, document_has: bool, conversation_has: bool) -> None:
    settings = {} if adds is None else {"add_bos_token": adds}
    words = chat_templates.load(tmp_path, LLAMA3, **settings)
    own = reader(words, bos=bos)
    found = own.tokenize(document(1, ["A text"]), SourceTextOptions(), Piece(), [])
    assert found is not None
    assert words.decode(found.ids) == BOS * document_has + "A text<|eot_id|>"
    assert found.build_labels()[0] == (ord("A") if document_has else ord(" "))
    for system in (None, "Be kind."):
        assert words.decode(make(own, talk(2, system))[0]).count(BOS) == conversation_has
        ids = make(reader(words, bos=bos, system_prompt=system), talk(2))[0]
        assert (ids[0] == words.bos, ids.count(words.bos or 0)) == (conversation_has, conversation_has)


def test_bos_of_a_tokenizer_without_a_template(tmp_path: Path) -> None:
    """The post-processor decides, as in `tokenizer.json` alone; a configuration beside it goes first."""
    tiny.write_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    assert load_tokenizer(tiny.options(tmp_path)).bos is None
    assert make(reader(load_tokenizer(tiny.options(tmp_path))), talk(2))[0][0] == 258
    post = Tokenizer.from_file(str(path))
    post.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 256)])
    post.save(str(path))
    words = load_tokenizer(tiny.options(tmp_path))
    assert (words.bos, words.adds_bos) == (256, True)
    assert make(reader(words), talk(2))[0][:2] == [256, 258]
    assert make(reader(words, bos=False), talk(2))[0][0] == 258
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": {"content": "<|user|>"}, "add_bos_token": false}')
    words = load_tokenizer(tiny.options(tmp_path))
    assert (words.bos, words.adds_bos) == (258, False)


def test_a_bos_that_is_not_there(tmp_path: Path) -> None:
    words = chat_templates.load(tmp_path, CHATML)
    with pytest.raises(UsageError, match=r"^data\.bos: the tokenizer has no BOS; name it as bos_token in a tokenizer_"):
        reader(words, bos=True)


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_spaces_that_a_tokenizer_adds_are_not_doubled(tmp_path: Path, scheme: str) -> None:
    """As Llama's adds them to each text."""
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:.?\n"
    plain = Tokenizer(BPE({letter: number for number, letter in enumerate(letters)}, []))
    plain.pre_tokenizer = Metaspace(prepend_scheme=scheme, split=False)
    plain.decoder = MetaspaceDecoder(prepend_scheme=scheme, split=False)
    plain.add_special_tokens([AddedToken(name, normalized=False) for name in VICUNA.tokens])
    chat_templates.write_tokenizer(tmp_path, VICUNA)
    plain.save(str(tmp_path / "tokenizer.json"))
    own = reader(load_tokenizer(tiny.options(tmp_path)))
    ids, _ = make(own, document(1, ["What?", "No", "Why?", "So"], ["user", "assistant"] * 2))
    names = [own.tokenizer.find_name(number) for number in ids]
    first = ["<s>", *("▁" * (scheme == "always")), *"USER:"]
    then = [*("▁" * (scheme == "always")), "\n", *"USER:▁Why?\nASSISTANT:▁So", "</s>"]
    assert names == [*first, *"▁What?\nASSISTANT:▁No", "</s>", *then, *("▁" * (scheme == "always")), "\n"]
