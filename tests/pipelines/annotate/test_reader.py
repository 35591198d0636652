"""Reading shards from an object store that throttles."""

from collections.abc import Callable
from pathlib import Path

from pipelines.annotate.messages import Chunk, ShardEnd, from_row
from pipelines.annotate.reader import ShardReader, shard_row
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.storage.folder import Folder
from schemas.storage.retries import untold
from tests.support.s3.bucket import Bucket


def test_requests_that_are_sent_again_are_told(make_shards: Callable[..., str], tmp_path: Path, bucket: Bucket) -> None:
    make_shards(tmp_path / "images", shards=1, samples=3)
    bucket.store.upload(tmp_path / "images", f"{bucket.url}/images")
    path = f"{bucket.url}/images/00000000.tar"
    recipe = AnnotateRecipe.model_validate({"input": path, "engines": {"ocr": {"engine": "rapidocr"}}})
    reader = ShardReader(recipe, Folder(str(tmp_path / "out")), parts=[])
    untold()
    for throttled in (2, 0):
        bucket.proxy.restart(lambda number, throttled=throttled: "throttle" if number < throttled else None)
        chunk, end = map(from_row, reader(shard_row(InputShard("00000000", path))))
        assert isinstance(chunk, Chunk)
        assert isinstance(end, ShardEnd)
        assert (end.samples, end.resent) == (3, throttled)
