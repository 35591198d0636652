"""Reads tag vocabularies, and splits vocabularies and captions into words.

A vocabulary is a text file in UTF-8 with one tag on each line; empty lines and lines that begin with `#` are ignored.
The one that ships, `vocabulary.txt`, was written for this project.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schemas.compression import SIGNATURE_BYTES, check_uncompressed
from schemas.errors import StorageError, UsageError
from schemas.storage.folder import split_path

SHIPPED = Path(__file__).with_name("vocabulary.txt")

_MAX_CHARACTERS = 100  # longer lines are prose or another kind of file; SigLIP reads 64 tokens, prompt included

# Characters other than spaces that may join two words of a tag: "t-shirt", "red_car_2", "dog's".
_JOINERS = "-_'’\u2010\u2011"  # hyphens, not dashes
# Ideographs and kana are written without spaces, so each counts as one word.
_ALONE = "\u3005-\u3007\u3021-\u3029\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
_ALONE += "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
_ALONE_FAR = "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
# Characters that belong to the letter before them: soft hyphens, joiners of Persian and Indic words, voicing of narrow
# kana.
_MARKS = "\xad\u200c\u200d\uff9e\uff9f"
_SILENT = dict.fromkeys(map(ord, "\xad\u200c\u200d"))

_LAST_NEAR = "\uffff"

_ASCII_WORD = re.compile(rf"[A-Za-z0-9]+|(?!(?<=[A-Za-z0-9])[{_JOINERS}](?=[A-Za-z0-9]))\S")


@dataclass(frozen=True)
class Vocabulary:
    """Holds the tags that an engine can give, in the order of their file."""

    names: tuple[str, ...]  # as spelt in the file; no two consist of the same words
    sha256: str  # of the file's bytes


def read_vocabulary(path: str | Path | None = None) -> Vocabulary:
    """Reads and checks a file, or for None the vocabulary that ships. Raises `UsageError` with the faulty line."""
    path = SHIPPED if path is None else path
    read, sha256 = read_lines(path, "vocabulary", "tag")
    lines: dict[tuple[str, ...], int] = {}
    names = []
    for number, name in enumerate(read, 1):
        if not name or name.startswith("#"):
            continue
        words = tuple(split_words(name))
        problem = find_name_problem(name)
        if problem is None and words in lines:
            problem = f"{name!r} is on line {lines[words]} already; remove one"
        if problem:
            raise UsageError(f"vocabulary {path}, line {number}: {problem}")
        lines[words] = number
        names.append(name)
    if not names:
        raise UsageError(f"vocabulary {path}: no tags in it; put one on each line")
    return Vocabulary(tuple(names), sha256)


def read_lines(path: str | Path, option: str, entry: str) -> tuple[list[str], str]:
    """Returns the lines of a text file without the spaces around them, and the SHA-256 of its bytes.

    Raises `UsageError` that begins with the option, for a file that cannot be read; each of its lines holds an entry.
    """
    try:
        if "://" in str(path):
            folder, file = split_path(str(path))
            data = folder.read(file)
        else:
            data = Path(path).read_bytes()
    except StorageError as error:
        raise UsageError(f"{option}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{option} {path}: {reason}; pass a text file with one {entry} per line") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        check_uncompressed(f"{option} {path}", data[:SIGNATURE_BYTES])
        number = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{option} {path}, line {number}: not UTF-8; save the file as UTF-8") from None
    return [line.strip() for line in text.split("\n")], hashlib.sha256(data).hexdigest()


def find_name_problem(name: str) -> str | None:
    """Returns why a line cannot be a tag's name, and what to do; None where it can."""
    if len(name) > _MAX_CHARACTERS:
        return f"a tag of {len(name)} characters, {_MAX_CHARACTERS} at most; put one tag on each line"
    if any(unicodedata.category(character) == "Cc" for character in name):  # a table's tabs, a binary file
        return f"{name!a} holds a tab or a control character; put one tag on each line and nothing else"
    if not any(word[0].isalnum() for word in split_words(name) if word):
        return f"{name!a} holds no word; begin comments with #"
    return None


def split_words(text: str) -> list[str]:
    """Splits a text into words normalised for comparison: letter case, width, ligatures and accents do not matter.

    A word is a maximal run of letters and digits with the marks on them, or one ideograph or kana. Any other character
    but spaces and the joiner between two words counts as a word too, so that no tag matches across a comma.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return [_fold_word(word) for word in _compile_word_pattern().findall(text)]


def find_word_spans(text: str) -> list[tuple[int, int]]:
    """Returns the start and end in the text, in characters, of each word that `split_words` returns."""
    pattern = _ASCII_WORD if text.isascii() else _compile_word_pattern()
    return [match.span() for match in pattern.finditer(text)]


def _fold_word(word: str) -> str:
    if word.isascii():
        return word.lower()
    folded = unicodedata.normalize("NFKC", word.translate(_SILENT)).casefold()
    return unicodedata.normalize("NFKC", folded)  # case folding decomposes characters such as 'ΐ'


@cache
def _compile_word_pattern() -> re.Pattern[str]:
    """Returns the counterpart of `_ASCII_WORD` for all scripts; `re` has no class for marks."""
    codes = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    marks = [chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M"]
    # Beyond U+FFFF `re` searches a class linearly, so a look-ahead spares most characters that search.
    near = f"[{_MARKS}{''.join(mark for mark in marks if mark <= _LAST_NEAR)}]"
    far = f"(?=[^\0-{_LAST_NEAR}])[{''.join(mark for mark in marks if mark > _LAST_NEAR)}]"
    mark = f"(?:{near}|{far})"
    alone = f"(?:[{_ALONE}]|[{_ALONE_FAR}])"
    letter = rf"[^\W_{_ALONE}{_ALONE_FAR}]"
    word = rf"(?:[^\W_]|{near}|{far})"
    return re.compile(rf"{letter}+(?:{mark}+{letter}*)*|{alone}{mark}*|(?!(?<={word})[{_JOINERS}](?={word}))\S")
