"""Errors that a user sees: one line that says what, where and what to do. All others are bugs and keep their trace."""


class ShardloomError(Exception):
    """Something went wrong that the program foresaw. `exit_code` is the process's."""

    exit_code = 1


class UsageError(ShardloomError):
    """The call or the recipe is wrong; found before any work is done."""

    exit_code = 2


class StorageError(ShardloomError):
    """A disk or an object store refused. What is committed stays valid; the same command goes on later."""
