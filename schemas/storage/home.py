"""Finds the user's home folder, which containers and services may lack."""

from pathlib import Path

from schemas.errors import UsageError


def find_home(instead: str) -> Path:
    """Returns the home folder. Raises `UsageError` if there is none; `instead` is what to set in its place."""
    try:
        return Path.home()
    except RuntimeError:  # HOME is not set, and the user is in no list of users
        raise UsageError(f"there is no home folder, because HOME is not set: set it, or {instead}") from None
