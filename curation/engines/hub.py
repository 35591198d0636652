"""Fetches files of a model from the Hugging Face hub, or says soon and in one line why that is impossible.

The hub's own library tries again for 23 seconds where nothing answers, and says so in twelve lines.
"""

import logging
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import to_one_line

CONNECT_SECONDS = 5.0


class HubError(Exception):
    """Says why the hub did not give a model's files."""


def fetch_files(name: str, patterns: Sequence[str], revision: str | None = None, folder: Path | None = None) -> Path:
    """Fetches the files of a model that match `patterns`, and returns their folder.

    They go into `folder`, or into the hub's cache in the user's home, where those of an earlier fetch are found without
    the hub. Raises `HubError` for an unknown name or revision, and where the hub does not answer.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what it says is in its exceptions too
    reason = find_obstacle(constants.ENDPOINT)
    if reason is not None and folder is not None:
        raise HubError(reason)
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                local_dir=folder,
                local_files_only=reason is not None,
            )
        )
    except Exception as error:  # noqa: BLE001  unknown name, no network, no space, ...
        raise HubError(reason or to_one_line(error, with_type=True)) from None


def find_obstacle(endpoint: str) -> str | None:
    """Returns why the hub's server can't be reached; None if it can, or if only a proxy knows."""
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    if urllib.request.getproxies().get(url.scheme) and not urllib.request.proxy_bypass(host):
        return None
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return f"no hub answers at {endpoint} ({error.strerror or to_one_line(error)})"
    return None
