"""Plans the sets of `data.held_out.sets`, and refuses one of which a sample is trained on.

A sample is known by its key together with the hashes of its images; one without images by its key and the tokens of its
parts. So two sets that number their samples alike do not overlap, and a set that was captioned again does, by its
images. A copy under another key is not found: deduplicate first (`filters.repeated_images`).
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from schemas.errors import UsageError
from training.data.options import DataOptions
from training.data.plan import Sources

_EPOCH: dict[str, Any] = {"repeats": {}, "stop": "all_exhausted", "unit": "samples", "image_tokens": None}
"""A pass over all samples: their mixture is never drawn from, but a plan has one."""


def make_held_out_set_options(options: DataOptions) -> DataOptions | None:
    """Returns the options of the data of the held-out sets, packed as the run's; None if there are none.

    The rules of a source apply to the set of its name.
    """
    if options.held_out is None or not options.held_out.sets:
        return None
    sets = options.held_out.sets
    own = {
        name: {source: rule for source, rule in getattr(options, name).items() if source in sets}
        for name in ("texts", "any_resolution")
    }
    values = {"sources": sets, "weights": dict.fromkeys(sets, 1), "held_out": None, "seed": 0, "images": {}, **own}
    return DataOptions.model_validate(options.model_dump() | _EPOCH | values)


def check_no_overlap(training: Sources, held_out: Sources) -> None:
    """Raises `UsageError`, which names both, if a sample of a held-out set is trained on.

    It reads the keys of all samples that train, 20 bytes each of a mapped file.
    """
    for name, table in zip(held_out.names, held_out.tables, strict=True):
        keys = table.rows.read_keys().combine_chunks()
        held = {identity: path for path, rows in table.rows.find_keys(keys) for identity in _identify(rows)}
        for source, trained in zip(training.names, training.tables, strict=True):
            for path, rows in trained.rows.find_keys(keys):
                for identity in _identify(rows):
                    if identity in held:
                        raise UsageError(
                            f"data.held_out.sets.{name}: {held[identity]}: {identity[0]} is trained on, as a sample of "
                            f"source {source} in {path}: take it out of one of the two"
                        )


def _identify(rows: pa.RecordBatch) -> Iterator[tuple[str, str]]:
    """Yields what each sample is known by."""
    columns = (rows[name].to_pylist() for name in ("key", "image_details", "part_tokens"))
    for key, images, tokens in zip(*columns, strict=True):
        yield key, str([image["sha256"] for image in images] or tokens)
