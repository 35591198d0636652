"""Counts the tokens of texts with a named tokenizer; mixtures are weighted and sequences are planned by these counts.

A count means nothing without its tokenizer, so the tokenizer's fingerprint is stored wherever its counts are. Each text
is counted on its own and without the special tokens that a trainer adds: only the trainer knows which ones it adds.
"""

import hashlib
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from schemas.errors import StorageError, UsageError, to_one_line
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import split_path

TOKENIZER_FILE = "tokenizer.json"

_HUB_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")


class TokenCounter:
    """Counts tokens with the tokenizer of a `tokenizer.json`. It can be pickled and sent to Ray workers."""

    def __init__(self, data: bytes) -> None:
        """Loads the tokenizer from the bytes of its file. Raises `ValueError` if they are not a tokenizer."""
        from tokenizers import Tokenizer  # imported here because the import takes longer than most commands run

        try:
            self._tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            raise ValueError(to_one_line(error)) from None
        self._tokenizer.no_truncation()  # a file may ask for either, but a count covers the whole text and nothing else
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # special tokens' names in a text count as plain text
        self._data = data
        sha256 = hashlib.sha256(data).hexdigest()
        self.fingerprint = EngineFingerprint(
            name="tokenizer", version=version("tokenizers"), weights_sha256=sha256, settings={}
        )

    def __reduce__(self) -> tuple[type["TokenCounter"], tuple[bytes]]:
        return type(self), (self._data,)

    def count(self, texts: Iterable[str]) -> int:
        """Returns the number of tokens of all the texts together."""
        return sum(len(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def load_token_counter(name: str, allow_download: bool, switch: str = "allow_download") -> TokenCounter:
    """Returns the counter for a tokenizer given as a file, a folder, the URL of a file, or a name on the hub.

    `switch` is the name of the option that allows a download, as the user writes it. Raises `UsageError`, which says
    what to pass, when there is no such tokenizer.
    """
    path = Path(name)
    if path.is_dir():
        path /= TOKENIZER_FILE
    elif not path.is_file() and _HUB_NAME.fullmatch(name) and not name.endswith(".json"):
        path = _download_tokenizer(name, allow_download, switch)
    where = name if "://" in name else str(path)
    folder, file = split_path(where)
    try:
        return TokenCounter(folder.read(file))
    except StorageError as error:
        raise UsageError(f"tokenizer: {error}; pass a {TOKENIZER_FILE}, or its folder") from None
    except ValueError as error:
        raise UsageError(f"tokenizer: {where} is not a {TOKENIZER_FILE} of the tokenizers library: {error}") from None


def _download_tokenizer(name: str, allow_download: bool, switch: str) -> Path:
    if not allow_download:
        raise UsageError(
            f"tokenizer: no file or folder {name}; pass a {TOKENIZER_FILE}, "
            f"or {switch} to fetch it from the hub by name"
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(name, TOKENIZER_FILE))
    except Exception as error:  # noqa: BLE001 - no such name, no network, no space, ...
        reason = to_one_line(error, with_type=True)
        raise UsageError(f"tokenizer: cannot fetch {name} from the hub: {reason}; pass a {TOKENIZER_FILE}") from None
