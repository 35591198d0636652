"""Defines the errors that a user sees: one line that says what happened, where, and what to do.

Any other exception is a bug and keeps its traceback.
"""

from schemas.masking import mask_secrets


class ShardloomError(Exception):
    """Reports a failure that the program foresaw.

    `exit_code` is the exit code of the process. The message masks the secrets of URLs.
    """

    exit_code = 1

    def __str__(self) -> str:
        return mask_secrets(super().__str__())


class UsageError(ShardloomError):
    """Reports that the call or the recipe is wrong, before any work is done."""

    exit_code = 2


class StorageError(ShardloomError):
    """Reports that a disk or an object store refused. Committed outputs stay valid; the same command resumes later."""


def to_one_line(error: BaseException | str, limit: int = 300, with_type: bool = False) -> str:
    """Returns an error's message as one line of at most `limit` characters, with the secrets of URLs masked.

    `with_type` prefixes the name of the error's class, for libraries whose messages alone say little.
    """
    text = str(error)
    if with_type:
        text = f"{type(error).__name__}: {text.strip() or 'without a message'}"
    return mask_secrets(" ".join(text.split()))[:limit]  # masked first: half a secret is not found
