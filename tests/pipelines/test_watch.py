"""A run that comes to a halt says what it waits for."""

import pytest

from pipelines.ledger import Snapshot, StageCounts
from pipelines.watch import halt

KEPT = "what is done is kept, the same command goes on"
CHUNK = "shard-chunk 00000000/1, samples 0 to 3"


@pytest.mark.parametrize(
    ("workers", "at_work", "lacks", "line"),
    [
        ((1, 2, 2), {"boxes": CHUNK}, None, f"stage boxes has been at {CHUNK}"),
        ((1, 2, 0), {"ocr": CHUNK}, None, f"stage ocr has been at {CHUNK}"),
        ((1, 2, 0), {}, None, "no worker of stage boxes has started (are there CPUs and GPUs left on the cluster?)"),
        ((1, 2, 2), {}, None, "stage tags waits for its input"),
        ((1, 2, 2), {"boxes": CHUNK}, "there is no room", f"stage boxes has been at {CHUNK}; there is no room"),
    ],
)
def test_a_halt(workers: tuple[int, ...], at_work: dict[str, str], lacks: str | None, line: str) -> None:
    stages = {stage: StageCounts(workers=count) for stage, count in zip(("tags", "ocr", "boxes"), workers, strict=True)}
    assert halt(Snapshot(stages, at_work), 99.6, lacks) == f"no progress for 100 s: {line}; {KEPT}"
