"""Defines the units of rendering: an annotation file, and where the base captions that it may need are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pipelines.inputs.row_choice import RowChoice
from schemas.output_set.layout import DATA
from schemas.output_set.manifest import Manifest, OutputFile

if TYPE_CHECKING:
    from pipelines.render.caption_partition import CaptionPartition
    from pipelines.render.caption_runs import Segment


@dataclass(frozen=True, slots=True)
class RenderUnit:
    """Describes the work on one annotation file."""

    source: Manifest
    segments: "tuple[Segment, ...]" = ()
    choice: RowChoice | None = None  # of its rows; None: all


class RenderUnits(Sequence[RenderUnit]):
    """Holds the units of a run, each built on access: the segments of all of them may take gigabytes."""

    def __init__(
        self,
        sources: Sequence[Manifest],
        partition: "CaptionPartition | None",
        choices: Mapping[str, RowChoice | None] = MappingProxyType({}),
    ) -> None:
        self._sources, self._partition, self._choices = sources, partition, choices

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, at: Any) -> Any:
        source = self._sources[at]
        segments = () if self._partition is None else self._partition.find_segments(source.name)
        return RenderUnit(source, segments, self._choices.get(source.name))


def get_data_name(source: Manifest) -> str:
    """Returns the path of a manifest's annotation file. An empty shard has no such file."""
    return f"{DATA}/{source.name}.parquet"


def find_data(source: Manifest) -> OutputFile | None:
    """Returns the annotation file of a manifest, or None if the shard was empty."""
    return next((file for file in source.outputs if file.path == get_data_name(source)), None)
