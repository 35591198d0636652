"""Says below the captions of a card where they come from, as the manifest of their output has it.

`shardloom explain` follows the manifests to the end; a page says what one of them says, and that command.
"""

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from pipelines.view.page import Block, TextGroup
from pipelines.view.parquet_files import list_tars
from pipelines.view.source import SetSource

HASH_CHARACTERS = 12  # of a weight file's hash: enough to tell two apart

_INPUTS = {"render": ("annotations", "input"), "shard": ("captions", "captions")}
"""What a set was made from, and the key of its recipe that names it, by kind."""


def add_origins(blocks: Iterable[Block], source: SetSource, name: str, key: str) -> tuple[Block, ...]:
    """Returns the blocks of a card, with the origin of the sample `key` of the output `name` below its captions."""
    origin = describe_origin(source, name, key)
    return tuple(replace(block, origin=origin) if isinstance(block, TextGroup) else block for block in blocks)


def describe_origin(source: SetSource, name: str, key: str) -> tuple[tuple[str, str], ...]:
    """Returns names with what is known of them: engines, the set before, the image shard, and how to trace it all."""
    manifest = source.manifests[name]
    rows = []
    for stage, made in manifest.fingerprints.items():
        weights = f", weights {made.weights_sha256[:HASH_CHARACTERS]}" if made.weights_sha256 else ""
        rows.append((stage, f"{made.name} {made.version}{weights}"))
    if source.kind in _INPUTS:
        what, option = _INPUTS[source.kind]
        rows.append((what, str(source.recipe.get(option))))
    tars = list_tars(manifest)
    rows += [("image shard", path) for path in tars if PurePosixPath(path).stem == name or len(tars) == 1]
    return (*rows, ("trace it", shlex.join(["shardloom", "explain", source.folder.url, f"{name}/{key}"])))
