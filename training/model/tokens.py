"""Converts text to token ids and back, so that no text can produce a special token.

The tokenizer is that of the language model, from the same `tokenizer.json` that the indexes were counted with. After
its own tokens come a pad, unless it has one, and the three of xGen-MM: Phi-3 has 32011 tokens, so `<pad>` is 32011,
`<image>` 32012, `<image placeholder>` 32013 and `<|endofchunk|>` 32014.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

from curation.tokens import TOKENIZER_FILE, TokenCounter, load_token_counter
from schemas.errors import UsageError
from training.model.config import ModelOptions
from training.model.tokenizer_config import CONFIG_FILE, TokenizerConfig, read_tokenizer_config

IMAGE, PLACEHOLDER, END_OF_CHUNK = "<image>", "<image placeholder>", "<|endofchunk|>"

_PAD = "<pad>"
_END_TOKENS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<|im_end|>", "<eos>", "[EOS]")  # without a CONFIG_FILE


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Holds the ids of the tokens that no text can produce."""

    image: int  # marks a position that takes one of an image's tokens
    placeholder: int  # in the released vocabulary; nothing uses it
    end_of_chunk: int  # ends the text that belongs to an image
    end: int  # ends a sample
    pad: int


class TextTokenizer(TokenCounter):
    """Tokenises by a `tokenizer.json`. It can be pickled, so that the loader's workers can use it."""

    def __init__(
        self,
        data: bytes,
        end: str | None = None,
        pad: str | None = None,
        config: TokenizerConfig | None = None,
    ) -> None:
        """Reads the file's bytes; `end` and `pad` are the texts of these tokens, by default the usual ones.

        A pad that is also the end is replaced by a new one, since its loss could not be excluded. Raises `ValueError`
        when the bytes are not a tokenizer's, or the end is not in its vocabulary.
        """
        super().__init__(data)
        self.config = config or TokenizerConfig()
        self._settings = (end, pad, self.config)
        found = next(
            (name for name in ([end] if end else _END_TOKENS) if self._tokenizer.token_to_id(name) is not None), None
        )
        if found is None:
            raise ValueError(f"it has no token {end}" if end else "it does not say which token ends a text")
        pad = pad if pad is not None and pad != found else _PAD
        self._tokenizer.add_special_tokens([pad])
        self.base_vocabulary_size = self._count_vocabulary()
        """Number of tokens with the pad, but without the three."""
        self._tokenizer.add_special_tokens([IMAGE, PLACEHOLDER, END_OF_CHUNK])
        self.vocabulary_size = self._count_vocabulary()
        """Number of tokens of the whole vocabulary: the width of the logits."""
        self.special = SpecialTokens(*(self._find_id(name) for name in (IMAGE, PLACEHOLDER, END_OF_CHUNK, found, pad)))
        added = self._tokenizer.get_added_tokens_decoder()
        self._markers = {token.content: number for number, token in added.items() if token.special}
        names = sorted((token.content for token in added.values()), key=len, reverse=True)
        self._name_pattern = re.compile("|".join(map(re.escape, names)))
        self.bos, self.adds_bos = self._find_bos()
        """The token that a text may begin with, and whether the tokenizer begins each text with it."""
        self._tokenizer.encode_special_tokens = True  # in a text, their names are text
        self._forbidden_ids = {*self._markers.values(), self.special.end} - {self._find_unknown_id()}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data, *self._settings)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, which never include special tokens: `<image>` in a caption is seven characters.

        A few tokenizers have the names of special tokens among their ordinary pieces; such a piece is cut in two.
        """
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        if self._forbidden_ids.isdisjoint(ids):
            return ids
        found = [span for number, span in zip(ids, encoding.offsets, strict=True) if number in self._forbidden_ids]
        edges = [0, *(start + 1 for start, end in found if end - start > 1), len(text)]
        if len(edges) == 2:  # pieces of one character, or of none
            return [number for number in ids if number not in self._forbidden_ids]
        return [number for start, end in pairwise(edges) for number in self.encode(text[start:end])]

    def encode_markup(self, text: str, before: str = "", precedes_words: bool = False) -> list[int]:
        """Returns the ids of a template's text, in which the names of special tokens stand for these tokens.

        `before` is what the text follows: some tokenizers put a space before a text that begins one. They put it before
        words, too, so that a space at the end of a text that precedes words is left out.
        """
        if precedes_words and self._puts_space_first:
            text = text.removesuffix(" ")
        known, ids = self._encode_with_names(before), self._encode_with_names(before + text)
        return ids[len(known) :] if ids[: len(known)] == known else self._encode_with_names(text)

    def split_markup(self, text: str) -> list[str]:
        """Splits a template's text into names of added tokens, and the single characters between them."""
        atoms, at = [], 0
        for name in self._name_pattern.finditer(text):
            atoms += [*text[at : name.start()], name[0]]
            at = name.end()
        return [*atoms, *text[at:]]

    def count(self, texts: Iterable[str]) -> int:
        """Counts the tokens of all texts together, as `encode` returns them."""
        return sum(len(self.encode(text)) for text in texts)

    def decode(self, ids: Iterable[int], keep_special: bool = True) -> str:
        """Returns the text of the ids; `keep_special` decides whether special tokens appear by name or are left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=not keep_special)
        return text

    def find_name(self, number: int) -> str:
        """Returns the text by which a template names a token."""
        return str(self._tokenizer.id_to_token(number))

    def find_special_id(self, text: str) -> int | None:
        """Returns the id of the special token of this name, such as a role marker; None when there is none."""
        return self._markers.get(text)

    def is_special(self, number: int) -> bool:
        """Returns whether no text can produce this id."""
        return number in self._forbidden_ids

    def build_files(self) -> dict[str, bytes]:
        """Returns files, content by name, from which `load_tokenizer` and transformers can load this tokenizer."""
        settings = ("content", "special", "lstrip", "rstrip", "normalized", "single_word")
        added = self._tokenizer.get_added_tokens_decoder()
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self._tokenizer.id_to_token(self.special.end),
            "pad_token": self._tokenizer.id_to_token(self.special.pad),
            "added_tokens_decoder": {
                str(number): {name: getattr(token, name) for name in settings} for number, token in added.items()
            },
        }
        if "bos_token" in self.config.tokens:
            config["bos_token"] = self.config.tokens["bos_token"]
        if self.config.add_bos is not None:
            config["add_bos_token"] = self.config.add_bos
        if self.config.chat_template is not None:
            config["chat_template"] = self.config.chat_template
        return {TOKENIZER_FILE: self._data, CONFIG_FILE: json.dumps(config, indent=1, ensure_ascii=False).encode()}

    def _count_vocabulary(self) -> int:
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())  # ids may have gaps

    def _encode_with_names(self, text: str) -> list[int]:
        self._tokenizer.encode_special_tokens = False
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return ids
        finally:
            self._tokenizer.encode_special_tokens = True

    def _find_bos(self) -> tuple[int | None, bool]:
        """Returns the BOS that the configuration names or the post-processor adds, if any; and whether it is added."""
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        pairs = takewhile(lambda pair: pair[1], zip(encoding.ids, encoding.special_tokens_mask, strict=True))
        leading = [number for number, _ in pairs]
        name = self.config.tokens.get("bos_token")
        named = None if name is None else self._tokenizer.token_to_id(name)
        bos = named if named is not None else next(iter(leading), None)
        adds = bool(leading) if self.config.add_bos is None else self.config.add_bos
        return bos, adds and bos is not None

    @property
    def _puts_space_first(self) -> bool:
        first = self._tokenizer.encode("a", add_special_tokens=False).tokens[:1]
        return first != [] and first[0].startswith(("▁", "Ġ"))  # of SentencePiece, and of byte-level BPE

    def _find_id(self, name: str) -> int:
        number: int | None = self._tokenizer.token_to_id(name)
        assert number is not None, name
        return number

    def _find_unknown_id(self) -> int | None:
        """Returns the id for text that the tokenizer has no piece for; unlike special ids, any text may produce it."""
        model = json.loads(self._data)["model"]
        name = model.get("unk_token")
        if name is None and model.get("unk_id") is not None:
            name = model["vocab"][model["unk_id"]][0]
        number: int | None = None if name is None else self._tokenizer.token_to_id(name)
        return number


def load_tokenizer(options: ModelOptions) -> TextTokenizer:
    """Loads the tokenizer of the model. Raises `UsageError` when there is none or it can't be read."""
    name = options.tokenizer or options.language.pretrained
    if name is None:
        raise UsageError(
            "tokenizer: a language model made from a config has none; "
            f"pass model.tokenizer=FOLDER with a {TOKENIZER_FILE}"
        )
    data = load_token_counter(name, options.allow_download, "model.allow_download=true")._data
    config = read_tokenizer_config(name)
    try:
        return TextTokenizer(data, config.tokens.get("eos_token"), config.tokens.get("pad_token"), config)
    except ValueError as error:
        raise UsageError(f"tokenizer: {name}: {error}; name it as eos_token in a {CONFIG_FILE} beside it") from None
