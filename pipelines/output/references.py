"""Puts a reference to an image in place of the image, for sets that leave the images in the tars they came from."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.output.training_shards import Sample
from schemas.output_set.shard_index import REFERENCES


def refer_to_image(sample: Sample, tar: str, offset: int) -> Sample:
    """Returns the sample without its image, which is its first member, and with a reference to its place in a tar."""
    (ending, data), *captions = sample.members
    reference = {"ending": ending, "tar": tar, "offset": offset, "size": len(data)}
    return replace(sample, members=captions, index={**sample.index, REFERENCES.name: [reference]})


def list_tars(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Returns the tars that the rows of an index refer to."""
    return {reference["tar"] for row in rows for reference in row.get(REFERENCES.name) or ()}
