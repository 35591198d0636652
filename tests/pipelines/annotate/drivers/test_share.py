"""How many drivers a run has by default, and what each gets of its pools."""

import pytest

from pipelines.annotate.drivers.share import count_drivers, divide_pools, give_each_a_worker
from pipelines.annotate.pools import Pool
from pipelines.cluster.capacity import ResourceRequest
from pipelines.recipes.annotate import PoolName
from schemas.errors import UsageError

MANY = 10_000  # shards


def pool(name: PoolName, fewest: int, most: int | None = None, cpus: float = 1.0, gpus: float = 0.0) -> Pool:
    request = ResourceRequest(name, fewest, most or fewest, cpus, gpus)
    return Pool(name, None, None, None, False, False, False, False, 16, 16, request)


def workers(pools: list[Pool]) -> list[tuple[int, int, float]]:
    return [(each.request.min_workers, each.request.max_workers, each.request.cpus) for each in pools]


@pytest.mark.parametrize(
    ("pools", "drivers"),
    [
        ([pool("ocr", 2)], 1),
        ([pool("ocr", 512)], 1),
        ([pool("ocr", 513)], 2),
        ([pool("ocr", 400), pool("boxes", 400)], 2),
        ([pool("ocr", 64, gpus=1)], 1),
        ([pool("ocr", 112, gpus=1), pool("decode", 56, cpus=0.1)], 2),
        ([pool("ocr", 1000, gpus=0.5), pool("tags", 1, cpus=0.1)], 16),
        ([pool("ocr", 1000, gpus=0.5), pool("boxes", 3)], 3),
        ([pool("ocr", 1, 2000)], 4),
    ],
)
def test_the_default(pools: list[Pool], drivers: int) -> None:
    assert count_drivers(None, pools, MANY) == drivers
    assert count_drivers(None, pools, 2) == min(drivers, 2)


def test_what_is_asked_for() -> None:
    pools = [pool("tags", 1, cpus=0.1), pool("ocr", 4), pool("boxes", 1, 3)]
    assert count_drivers(3, pools, MANY) == 3
    assert count_drivers(3, pools, 2) == 2
    with pytest.raises(UsageError) as error:
        count_drivers(5, pools, MANY)
    few = "run.drivers is 5, and of workers ocr has 4 and boxes has 3"
    assert str(error.value) == f"{few}: each driver needs one of its own; lower run.drivers"


def test_pools_are_divided() -> None:
    pools = give_each_a_worker([pool("tags", 1, cpus=0.1), pool("ocr", 7, gpus=0.5), pool("boxes", 1, 8)], 4)
    assert workers(pools) == [(4, 4, 0.025), (7, 7, 1.0), (4, 8, 1.0)]
    shares = divide_pools(pools, 4)
    assert [workers(share.pools) for share in shares] == [
        [(1, 1, 0.025), (2, 2, 1.0), (1, 2, 1.0)],
        [(1, 1, 0.025), (2, 2, 1.0), (1, 2, 1.0)],
        [(1, 1, 0.025), (2, 2, 1.0), (1, 2, 1.0)],
        [(1, 1, 0.025), (1, 1, 1.0), (1, 2, 1.0)],
    ]
    assert [(share.name, share.cpus, share.gpus) for share in shares[2:]] == [
        ("driver 3 of 4", 4.025, 1.0),
        ("driver 4 of 4", 3.025, 0.5),
    ]
    assert {(share.total_cpus, share.total_gpus) for share in shares} == {(15.1, 3.5)}
