"""Reading shards from an object store that throttles."""

from collections.abc import Callable
from pathlib import Path

from pipelines.annotate.claims.source import ListedShards, encode_shard
from pipelines.annotate.messages import Chunk, ShardEnd, decode_message
from pipelines.annotate.parts import join_parts
from pipelines.annotate.reader import ShardReader
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count
from tests.conftest import jpeg
from tests.schemas.support.tars import tar_of
from tests.support.s3.bucket import Bucket


def test_requests_that_are_sent_again_are_told(make_shards: Callable[..., str], tmp_path: Path, bucket: Bucket) -> None:
    make_shards(tmp_path / "images", shards=1, samples=3)
    bucket.store.upload(tmp_path / "images", f"{bucket.url}/images")
    path = f"{bucket.url}/images/00000000.tar"
    recipe = AnnotateRecipe.model_validate({"input": path, "engines": {"ocr": {"engine": "rapidocr"}}})
    reader = ShardReader(recipe, Folder(str(tmp_path / "out")), parts=[], source=ListedShards([]))
    take_retry_count()
    for throttled in (2, 0):
        bucket.proxy.restart(lambda number, throttled=throttled: "throttle" if number < throttled else None)
        chunk, end = map(decode_message, reader(encode_shard(InputShard("00000000", path))))
        assert isinstance(chunk, Chunk)
        assert isinstance(end, ShardEnd)
        assert (end.samples, end.retries) == (3, throttled)


def test_hidden_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    """Captions that no text can hold leave their sample out; a tar needs no .json."""
    members = [("1.jpg", jpeg(1)), ("._1.txt", b"Mac"), ("1.txt", b"\xef\xbb\xbfa cat"), (".DS_Store", b"x")]
    (tmp_path / "a.tar").write_bytes(tar_of(*members, ("1.json", b"{"), ("2.jpg", jpeg(2)), ("2.txt", b"caf\xe9")))
    recipe = AnnotateRecipe.model_validate({"input": str(tmp_path), "engines": {"ocr": {"engine": "rapidocr"}}})
    shard = InputShard("a", str(tmp_path / "a.tar"))
    reader = ShardReader(recipe, Folder(str(tmp_path / "out")), parts=[], source=ListedShards([]))
    chunk, end = map(decode_message, reader(encode_shard(shard)))
    assert isinstance(chunk, Chunk)
    assert chunk.table is not None
    assert chunk.table.select(["key", "uid", "url", "caption", "reason"]).to_pylist() == [
        {"key": "1", "uid": None, "url": None, "caption": "a cat", "reason": None},
        {"key": "2", "uid": None, "url": None, "caption": "", "reason": "not_text"},
    ]
    assert isinstance(end, ShardEnd)
    assert (end.samples, end.hidden, end.unreadable) == (2, 2, 1)
    empty = ShardEnd("a", shard.path, end.size, end.sha256, digests=[], samples=0, hidden=2, unreadable=1)
    counts = join_parts(Folder(str(tmp_path / "out")), empty, recipe.compute_sha256()).counts
    assert counts == {"hidden_files": 2, "unreadable_metadata": 1}
