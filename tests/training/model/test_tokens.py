"""A text gives text and nothing else; ids and counts are those of the tokenizer's own file."""

import json
import pickle
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import Unigram, WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from curation.tokens import load_token_counter
from schemas.errors import UsageError
from tests.training.support import chat_templates, tiny
from tests.training.support.chat_templates import LLAMA3
from training.model.tokens import SpecialTokens, TextTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return load_tokenizer(tiny.options(folder))


def test_ids_of_phi3(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny.options(tiny.write_phi3_tokenizer(tmp_path)))
    assert tokenizer.special == SpecialTokens(image=32012, placeholder=32013, end_of_chunk=32014, end=32000, pad=32011)
    assert (tokenizer.base_vocabulary_size, tokenizer.vocabulary_size) == (32012, 32015)
    assert [tokenizer.find_special_id(name) for name in ("<|user|>", "<|assistant|>", "<|end|>")] == [
        32010,
        32001,
        32007,
    ]
    assert tokenizer.find_special_id("piece 1") is None


def test_text_and_back(tokenizer: TextTokenizer) -> None:
    for text in ("a cat", "", "Ελληνικά 日本\n", " two  spaces "):
        ids = tokenizer.encode(text)
        assert ids == list(text.encode())
        assert tokenizer.decode(ids) == text
    ids = [tokenizer.special.image, *tokenizer.encode("a"), tokenizer.special.end_of_chunk, tokenizer.special.end]
    assert tokenizer.decode(ids) == "<image>a<|endofchunk|><|endoftext|>"
    assert tokenizer.decode(ids, keep_special=False) == "a"


def test_names_of_special_tokens_in_a_text_are_text(tokenizer: TextTokenizer) -> None:
    names = ["<image>", "<image placeholder>", "<|endofchunk|>", "<pad>", *tiny.ROLES]
    for name in names:
        for text in (name, f"a{name}b", f"{name}{name}", f" {name}\n"):
            ids = tokenizer.encode(text)
            assert max(ids) < 256
            assert tokenizer.decode(ids) == text
            assert tokenizer.count([text, text]) == 2 * len(ids)
        assert tokenizer.find_special_id(name) is not None


def test_names_among_the_pieces_are_cut(tmp_path: Path) -> None:
    """Sentencepiece's own vocabularies hold `</s>`, and by score it wins."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((letter, -5.0) for letter in "</s>ab")]
    unigram = Tokenizer(Unigram(pieces, unk_id=0))
    unigram.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tiny.options(tmp_path))
    assert tokenizer.special.end == 1
    assert unigram.encode("a</s>b").ids == [6, 1, 7]
    assert tokenizer.encode("a</s>b") == [6, 2, 3, 4, 5, 7]
    assert tokenizer.encode("</s>" * 5000) == [2, 3, 4, 5] * 5000
    assert 0 in tokenizer.encode("?")  # what it doesn't know is a special token too, and stays


def test_unknown_words_and_added_tokens_that_are_not_special(tmp_path: Path) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "[EOS]": 2}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    words.add_special_tokens(["<unk>"])
    words.add_tokens([AddedToken("<image>", special=False)])
    words.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tiny.options(tmp_path))
    assert tokenizer.encode("a never") == [1, 0]
    assert tokenizer.special.image not in tokenizer.encode("a <image> a")
    assert tokenizer.special.end not in tokenizer.encode("a [EOS]")


def test_pad_of_its_own_or_a_new_one(folder: Path) -> None:
    data = (folder / "tokenizer.json").read_bytes()
    assert TextTokenizer(data).special.pad == 261
    assert TextTokenizer(data, "<|end|>", "<|end|>").special == SpecialTokens(262, 263, 264, end=260, pad=261)
    own = TextTokenizer(data, "<|end|>", "<|endoftext|>")
    assert own.special == SpecialTokens(261, 262, 263, end=260, pad=256)
    assert (own.base_vocabulary_size, own.vocabulary_size) == (261, 264)


def test_same_file_same_fingerprint_and_count(tokenizer: TextTokenizer, folder: Path) -> None:
    counter = load_token_counter(str(folder), allow_download=False)
    assert tokenizer.fingerprint == counter.fingerprint
    texts = ["a cat", "Ελληνικά", ""]
    assert tokenizer.count(texts) == counter.count(texts) == 21


def test_pickles(tokenizer: TextTokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301  our own bytes
    assert copy.special == tokenizer.special
    assert copy.encode("<image> a") == tokenizer.encode("<image> a")
    assert copy.fingerprint == tokenizer.fingerprint


def test_its_files_make_it_again_also_for_transformers(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    for name, content in tokenizer.build_files().items():
        (tmp_path / name).write_bytes(content)
    again = load_tokenizer(tiny.options(tmp_path))
    assert again.special == tokenizer.special
    assert again.fingerprint == tokenizer.fingerprint
    theirs = AutoTokenizer.from_pretrained(str(tmp_path), local_files_only=True)
    assert len(theirs) == tokenizer.vocabulary_size == 265
    names = ("<image>", "<image placeholder>", "<|endofchunk|>", "<|endoftext|>", "<pad>")
    assert theirs.convert_tokens_to_ids(list(names)) == [262, 263, 264, 256, 261]
    assert (theirs.eos_token_id, theirs.pad_token_id) == (256, 261)


def test_the_chat_template_of_transformers(tmp_path: Path) -> None:
    """A file of its own goes before the configuration's, of which several are a list."""
    folder = chat_templates.write_tokenizer(tmp_path, LLAMA3)
    tokenizer = load_tokenizer(tiny.options(folder))
    assert tokenizer.config.chat_template == LLAMA3.template
    assert (tokenizer.find_name(tokenizer.bos or 0), tokenizer.adds_bos) == ("<|begin_of_text|>", False)
    for name, content in tokenizer.build_files().items():
        (tmp_path / name).write_bytes(content)
    assert load_tokenizer(tiny.options(folder)).config.chat_template == LLAMA3.template
    assert pickle.loads(pickle.dumps(tokenizer)).config == tokenizer.config  # noqa: S301  our own bytes
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    chat_templates.write_tokenizer(tmp_path, LLAMA3, chat_template=several)
    assert load_tokenizer(tiny.options(folder)).config.chat_template == "yes"
    (tmp_path / "chat_template.jinja").write_text("its own")
    assert load_tokenizer(tiny.options(folder)).config.chat_template == "its own"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (
            "tokenizer_config.json",
            '{"chat_template": 3}',
            "its chat template is no text of at most 1,048,576 characters",
        ),
        ("tokenizer_config.json", '{"chat_template": [{"name": "default"}]}', "'template'"),
        ("tokenizer_config.json", "[" * 100_000, "maximum recursion depth exceeded"),
        ("tokenizer_config.json", "[]", "'list' object has no attribute 'get'"),
        ("chat_template.jinja", "a" * ((1 << 20) + 1), "its chat template is no text of at most 1,048,576 characters"),
        ("chat_template.jinja", "a" * ((1 << 22) + 1), "it has more than 4,194,304 bytes"),
    ],
)
def test_files_beside_it_that_cannot_be_read(tmp_path: Path, file: str, content: str, reason: str) -> None:
    tiny.write_tokenizer(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UsageError) as error:
        load_tokenizer(tiny.options(tmp_path))
    assert str(error.value).startswith(f"tokenizer: cannot read {tmp_path / file}: {reason}")
    assert str(error.value).endswith("; correct or remove it")


def test_what_is_wrong_is_one_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^tokenizer: a language model made from a config has none; pass model\.tokenizer=F"
    ):
        load_tokenizer(tiny.options(folder).model_copy(update={"tokenizer": None}))
    with pytest.raises(UsageError, match=r"^tokenizer: no file or folder someone/something; pass a tokenizer\.json"):
        load_tokenizer(tiny.options(Path("someone/something")))
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match=r": it does not say which token ends a text; name it as eos_token in a token"):
        load_tokenizer(tiny.options(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    with pytest.raises(UsageError, match=r": it has no token </s>; name it as eos_token in a tokenizer_config\.json"):
        load_tokenizer(tiny.options(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(
        UsageError, match=r"^tokenizer: cannot read .*tokenizer_config\.json: Expecting value.*; correct"
    ):
        load_tokenizer(tiny.options(tmp_path))
