"""Hidden files of macOS in image shards cost no sample of a training shard, and are counted once."""

from pathlib import Path

from pipelines.verify.run import verify
from tests.conftest import jpeg
from tests.pipelines.support.sets import annotation_set, caption_set, join, line, rows
from tests.schemas.support.tars import tar_of

SAMPLES = 70  # more than a block of the census


def test_hidden_files_cost_no_sample_and_are_counted_once(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = []
    for number in range(SAMPLES):
        said = b'{"url": "https://a/%d"}' % number if number != 5 else b"["
        for ending, data in (("jfif", jpeg(number)), ("json", said), ("txt", b"a")):
            members += [(f"._{number}.{ending}", b"Mac OS X"), (f"{number}.{ending}", data)]
    (tmp_path / "a.tar").write_bytes(tar_of(*members))
    annotations = annotation_set(str(tmp_path / "a.tar"), tmp_path / "annotations", lambda key: [line(key)])
    captions = caption_set(annotations, tmp_path / "captions")
    totals = join(str(tmp_path / "a.tar"), captions, tmp_path / "out", samples_per_shard=30, format="parquet")
    assert (totals.outputs, totals.rows_in, totals.rows_out) == (3, SAMPLES, SAMPLES)
    assert totals.counts["hidden_files"] == 3 * SAMPLES
    assert totals.counts["unreadable_metadata"] == 1
    made = rows(tmp_path / "out")
    assert [row["source_key"] for row in made] == [str(number) for number in range(SAMPLES)]
    assert {row["image"]["path"].rpartition(".")[2] for row in made} == {"jpg"}
    assert verify(str(tmp_path / "out")) == (3, [])
