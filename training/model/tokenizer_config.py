"""Reads what transformers keeps beside a `tokenizer.json`: the names of special tokens and the chat template."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import StorageError, UsageError
from schemas.storage.folder import Folder, split_path

CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"

MAX_CONFIG_BYTES = 64 << 20  # Gemma's, with all its added tokens, has 1 MiB
MAX_TEMPLATE_CHARACTERS = 1 << 20  # the longest, with tools in several languages, have some 30,000


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """Holds the settings of a tokenizer that its `tokenizer.json` lacks."""

    tokens: Mapping[str, str] = field(default_factory=dict)  # texts of special tokens by name, such as `bos_token`
    add_bos: bool | None = None  # None: not stated, so the post-processor of the tokenizer.json decides
    chat_template: str | None = None  # Jinja


def read_tokenizer_config(name: str) -> TokenizerConfig:
    """Reads the files beside the tokenizer of this name; defaults where there are none.

    A `chat_template.jinja` goes before a template in the configuration, of which several are a list: the one called
    `default` counts. Raises `UsageError` when a file can't be read.
    """
    folder = _find_config_folder(name)
    config: Any = {}
    try:
        file = CONFIG_FILE
        if folder.exists(file):
            config = json.loads(_read_bounded(folder, file, MAX_CONFIG_BYTES))
            tokens = {key: text for key in config if (text := _read_token(key, config[key])) is not None}
        else:
            tokens = {}
        add_bos, template = config.get("add_bos_token"), config.get("chat_template")
        if isinstance(template, list):
            template = {one["name"]: one["template"] for one in template}.get("default")
        if folder.exists(TEMPLATE_FILE):
            file = TEMPLATE_FILE
            template = _read_bounded(folder, file, 4 * MAX_TEMPLATE_CHARACTERS).decode()
        if template is not None and (not isinstance(template, str) or len(template) > MAX_TEMPLATE_CHARACTERS):
            raise ValueError(f"its chat template is no text of at most {MAX_TEMPLATE_CHARACTERS:,} characters")
    except (StorageError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        where = folder.resolve_path(file)
        raise UsageError(f"tokenizer: cannot read {where}: {error}; correct or remove it") from None
    return TokenizerConfig(tokens, add_bos if isinstance(add_bos, bool) else None, template)


def _read_bounded(folder: Folder, name: str, most: int) -> bytes:
    data = folder.read_range(name, 0, most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def _read_token(key: str, value: Any) -> str | None:
    """Returns the text of a special token, which may be an object with settings; None for any other setting."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if key.endswith("_token") and isinstance(text, str) else None


def _find_config_folder(name: str) -> Folder:
    """Returns the folder in which the tokenizer's configuration would be."""
    import huggingface_hub

    path = Path(name)
    if "://" in name or path.is_file():
        return split_path(name)[0]
    if path.is_dir():
        return Folder(name)
    for file in (TEMPLATE_FILE, CONFIG_FILE):
        # not every tokenizer has both; `load_token_counter` has already reached the hub
        with contextlib.suppress(Exception):
            path = Path(huggingface_hub.hf_hub_download(name, file)).parent
    return Folder(str(path))
