"""The chosen samples of a tar are those that were counted, or the run ends."""

import pytest

from pipelines.inputs.row_choice import RowChoice
from pipelines.inputs.shards import ChosenSamples, InputShard
from schemas.errors import ShardloomError
from schemas.tar.sample import TarSample


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("limit", [1, 3])
def test_a_tar_that_has_changed_since_it_was_counted(count: int, limit: int) -> None:
    shard = InputShard("0", "images/0.tar", choice=RowChoice("limit", limit, 3))
    chosen = ChosenSamples(shard, [TarSample(str(number), 0) for number in range(count)])
    if count == 3:
        assert [sample.key for sample in chosen] == [str(number) for number in range(limit)]
        assert (chosen.keys, chosen.left_out) == (["0", "1", "2"], {"limit": 3 - limit})
        return
    with pytest.raises(ShardloomError) as error:
        list(chosen)
    assert str(error.value) == "images/0.tar has changed since this run began: run the same command again"
