"""Opens the file systems of paths and URLs with fsspec, and words their errors."""

import errno
import os
from typing import Any

import fsspec

from schemas.errors import UsageError
from schemas.extras import require_extra
from schemas.masking import MASK
from schemas.storage.options import read_options


def open_file_system(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a path or URL, and the path in it. Raises `UsageError` if it can't be opened."""
    protocol = url.partition("://")[0] if "://" in url else "file"
    options = {} if protocol in ("file", "local") else read_options()
    if f"://{MASK}@" in url or url.endswith(f"?{MASK}"):
        raise UsageError(f"{url}: its secret was masked when it was stored; give the full URL again")
    try:
        if protocol in ("s3", "s3a"):
            require_extra("s3", url)
            from schemas.storage.s3 import RetryingS3  # imported here, because it is slow to import

            return RetryingS3(**options), RetryingS3._strip_protocol(url)
        fs, root = fsspec.core.url_to_fs(url, **options)
    except (ValueError, TypeError, ImportError) as error:  # unknown protocols and options, missing packages
        raise UsageError(f"{url}: {error}") from None
    return fs, root


def describe_os_error(error: OSError) -> str:
    """Returns the message of an error that a disk or a store raised."""
    if isinstance(error, FileNotFoundError):  # object stores word it differently
        return os.strerror(errno.ENOENT)
    return error.strerror or str(error) or type(error).__name__
