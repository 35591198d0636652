"""Finds rows by what a user calls them: a key, a uid, or FILE/KEY."""

from collections.abc import Iterable
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc


def find_key(table: pa.Table, key: str, file: str) -> pa.Table:
    """Returns the rows of the file of this name with a key or a uid, which may follow the name and a slash.

    Keys may have slashes of their own, as those of repacked tars do (`./000`). No key has bytes that are not UTF-8, as
    the words of a command line may.
    """
    if not _is_utf8(key):
        return table.slice(0, 0)
    names = dict.fromkeys([key, key.removeprefix(f"{file}/")])
    columns = [table[name] for name in ("key", "uid") if name in table.schema.names]
    return table.filter(reduce(pc.or_kleene, [pc.equal(column, name) for column in columns for name in names]))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def order_files(names: Iterable[str], key: str) -> list[str]:
    """Returns the names of files in the order in which a key is looked for: first that which it begins with."""
    return sorted(names, key=lambda name: not key.startswith(f"{name}/"))
