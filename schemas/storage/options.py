"""Sets options of object stores for a command, in an environment variable that every worker process inherits."""

import json
import os
from collections.abc import Sequence
from typing import Any

from schemas.errors import UsageError
from schemas.masking import find_secret

OPTIONS_VARIABLE = "SHARDLOOM_STORAGE_OPTIONS"  # environment variable: a JSON object of fsspec options


def use_options(given: Sequence[str]) -> None:
    """Sets KEY=VALUE options for all stores except local disks, in this process and its children. Values may be JSON.

    Raises `UsageError` for an option that is not KEY=VALUE.
    """
    options = read_options()
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise UsageError(f"--storage-option: {each!r} is not KEY=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    if given:
        os.environ[OPTIONS_VARIABLE] = json.dumps(options)


def refuse_secrets(given: Sequence[str]) -> None:
    """Raises `UsageError` if a KEY=VALUE of a command line is a secret: `ps` shows it to all users of the machine."""
    for each in given:
        name, equals, value = each.partition("=")
        try:
            found = find_secret(name, json.loads(value))
        except ValueError:
            found = find_secret(name, value)
        if equals and found is not None:
            raise UsageError(
                f"--storage-option {found}: all users of the machine can read a command line, so it accepts no secret: "
                "use what the store's own tools use (AWS_PROFILE, a role, a key file), "
                f"or the variable {OPTIONS_VARIABLE}"
            )


def read_options() -> dict[str, Any]:
    """Returns the options that are set. Raises `UsageError` if the variable is not a JSON object."""
    try:
        options = json.loads(os.environ.get(OPTIONS_VARIABLE, "{}"))
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise UsageError(f"{OPTIONS_VARIABLE} is not a JSON object")
    return options
