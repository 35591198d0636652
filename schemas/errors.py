"""Errors that a user sees: one line that says what, where and what to do. All others are bugs and keep their trace."""

from schemas.masking import masked


class ShardloomError(Exception):
    """Something went wrong that the program foresaw. `exit_code` is the process's. Its text shows no URL's secrets."""

    exit_code = 1

    def __str__(self) -> str:
        return masked(super().__str__())


class UsageError(ShardloomError):
    """The call or the recipe is wrong; found before any work is done."""

    exit_code = 2


class StorageError(ShardloomError):
    """A disk or an object store refused. What is committed stays valid; the same command goes on later."""


def one_line(error: BaseException | str, limit: int = 300, with_type: bool = False) -> str:
    """Returns an error's message as one line of at most `limit` characters.

    `with_type` puts the name of the error's class before it, for libraries whose messages say little by themselves.
    """
    text = str(error)
    if with_type:
        text = f"{type(error).__name__}: {text.strip() or 'without a message'}"
    return " ".join(text.split())[:limit]
