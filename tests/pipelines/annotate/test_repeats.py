"""An image counts as a repeat of a chosen one alone."""

from collections.abc import Callable
from pathlib import Path

from pipelines.annotate.repeats import hash_shard_images
from pipelines.inputs.row_choice import RowChoice
from pipelines.inputs.shards import InputShard


def test_only_chosen_images_are_hashed(make_shards: Callable[..., str], tmp_path: Path) -> None:
    make_shards(tmp_path, shards=1, samples=5)
    path = str(tmp_path / "00000000.tar")
    keys = [f"{number:012d}" for number in range(5)]
    assert hash_shard_images(InputShard("0", path))["key"].to_list() == keys
    chosen = InputShard("0", path, choice=RowChoice("limit", 2, 5))
    assert hash_shard_images(chosen)["key"].to_list() == keys[:2]
