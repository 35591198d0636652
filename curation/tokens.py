"""How many tokens a text has, by a named tokenizer: what mixtures are weighted by and sequences are planned from.

Counts mean nothing without the tokenizer, so its fingerprint goes wherever they go. A text is counted by itself and
without the special tokens that a trainer puts around it: only the trainer knows which.
"""

import hashlib
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from schemas.errors import StorageError, UsageError, one_line
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import split

FILE = "tokenizer.json"

_HUB_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")


class TokenCounter:
    """Counts by the tokenizer of a `tokenizer.json`. Pickles, so that Ray workers can take it."""

    def __init__(self, data: bytes) -> None:
        """Of the file's bytes. Raises `ValueError` when they are no tokenizer's."""
        from tokenizers import Tokenizer  # here, because it takes longer to import than most commands to run

        try:
            self._tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # noqa: BLE001 - the library raises what it likes
            raise ValueError(one_line(error)) from None
        self._tokenizer.no_truncation()  # a file may ask for both: a count is of the whole text and of nothing else
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # their names in a text are text: a trainer lets none speak
        self._data = data
        sha256 = hashlib.sha256(data).hexdigest()
        self.fingerprint = EngineFingerprint(
            name="tokenizer", version=version("tokenizers"), weights_sha256=sha256, settings={}
        )

    def __reduce__(self) -> tuple[type["TokenCounter"], tuple[bytes]]:
        return type(self), (self._data,)

    def count(self, texts: Iterable[str]) -> int:
        """Tokens of all the texts together."""
        return sum(len(self._tokenizer.encode(text, add_special_tokens=False)) for text in texts)


def token_counter(name: str, allow_download: bool, switch: str = "allow_download") -> TokenCounter:
    """The tokenizer in this file, folder or URL of a file, or of this name on the hub. `UsageError` says what to pass.

    `switch` is what allows a download, as the user names it.
    """
    path = Path(name)
    if path.is_dir():
        path /= FILE
    elif not path.is_file() and _HUB_NAME.fullmatch(name) and not name.endswith(".json"):
        path = _downloaded(name, allow_download, switch)
    where = name if "://" in name else str(path)
    folder, file = split(where)
    try:
        return TokenCounter(folder.read(file))
    except StorageError as error:
        raise UsageError(f"tokenizer: {error}; pass a {FILE}, or its folder") from None
    except ValueError as error:
        raise UsageError(f"tokenizer: {where} is no {FILE} of the tokenizers library: {error}") from None


def _downloaded(name: str, allow_download: bool, switch: str) -> Path:
    if not allow_download:
        raise UsageError(
            f"tokenizer: no file or folder {name}; pass a {FILE}, or {switch} to fetch it from the hub by name"
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(name, FILE))
    except Exception as error:  # noqa: BLE001 - no such name, no network, no space, ...
        reason = one_line(error, with_type=True)
        raise UsageError(f"tokenizer: cannot fetch {name} from the hub: {reason}; pass a {FILE}") from None
