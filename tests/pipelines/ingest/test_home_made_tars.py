"""Tars that people make: no .json, hidden files of macOS, captions that are not text. No row goes silently."""

import json
import tarfile
from pathlib import Path

import pytest

from pipelines.annotate.claims.source import ListedShards, encode_shard
from pipelines.annotate.messages import ShardEnd, decode_message
from pipelines.annotate.reader import ShardReader
from pipelines.inputs.shards import InputShard
from pipelines.output.totals import DamagedInput
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.ingest import IngestRun
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows
from tests.schemas.support.tars import tar_of


def set_of(folder: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> str:
    """A tar of these members."""
    (folder / "a.tar").write_bytes(tar_of(*members))
    return str(folder / "a.tar")


def made(output: Path) -> list[tuple[str, str, str]]:
    """Text, uid and the ending of the image of each sample."""
    return [(row["text"], row["uid"], row["image"]["path"].rpartition(".")[2]) for row in rows(output)]


def test_images_and_texts_alone_with_the_attributes_of_macos(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = [(".DS_Store", b"x")]
    for number, ending in enumerate(("jpg", "jfif", "jpe", "img", "image")):
        for name, data in ((f"{number}.{ending}", jpeg(number)), (f"{number}.txt", f"picture {number}".encode())):
            members += [(f"._{name}", b"Mac OS X"), (f"__MACOSX/._{name}", b"Mac OS X"), (name, data)]
    totals = take_in("datacomp", set_of(tmp_path, *members), tmp_path / "out", format="parquet")
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (5, 5, {})
    assert made(tmp_path / "out") == [(f"picture {number}", "", "jpg") for number in range(5)]
    assert totals.counts["hidden_files"] == 21
    assert verify(str(tmp_path / "out")) == (1, [])


def test_captions_that_are_no_text_are_told_and_numbers_are_kept(tmp_path: Path) -> None:
    captions = [b"caf\xe9", None, None, None, None, b"\xef\xbb\xbfa cat"]
    details = [{}, {"caption": ["a"]}, {"caption": 7, "uid": 12.0}, {"caption": "a\ud83d"}, {"caption": {}}, {}]
    members = []
    for number, (text, about) in enumerate(zip(captions, details, strict=True)):
        members += [(f"{number}.jpg", jpeg(number)), (f"{number}.json", json.dumps(about).encode())]
        members += [] if text is None else [(f"{number}.txt", text)]
    totals = take_in("datacomp", set_of(tmp_path, *members), tmp_path / "out", format="parquet")
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (6, 2, {"not_text": 4})
    assert "hidden_files" not in totals.counts
    assert made(tmp_path / "out") == [("7", "12", "jpg"), ("a cat", "", "jpg")]
    assert [(row["key"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        ("0", "the caption: not UTF-8: unexpected end of data at byte 3"),
        ("1", "the caption: a list, not a text"),
        ("3", "the caption: half of a surrogate pair at character 1"),
        ("4", "the caption: a dict, not a text"),
    ]


def test_metadata_that_cannot_be_read_costs_no_sample_with_a_text(tmp_path: Path) -> None:
    members = [(f"{number}.jpg", jpeg(number)) for number in range(6)]
    bad = [b"{", b"[]", b'{"uid": "\xe9"}', b" " * 5_000_000, b'{"uid": "5"}', b"{"]
    members += [(f"{number}.json", data) for number, data in enumerate(bad)]
    members += [(f"{number}.txt", f"picture {number}".encode()) for number in range(5)]
    members.sort(key=lambda member: member[0])
    totals = take_in("datacomp", set_of(tmp_path, *members), tmp_path / "out", format="parquet")
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (6, 5, {"missing_metadata": 1})
    assert totals.counts["unreadable_metadata"] == 4
    assert made(tmp_path / "out") == [(f"picture {number}", "5" if number == 4 else "", "jpg") for number in range(5)]


def test_heic_is_named(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    members = [("0.heic", heic), ("0.txt", b"a"), ("1.jpg", jpeg(1)), ("1.txt", b"b")]
    totals = take_in("datacomp", set_of(tmp_path, *members), tmp_path / "out")
    assert totals.reasons == {"unsupported_format": 1}
    assert [row["detail"] for row in rows(tmp_path / "out", "quarantine")] == [
        "HEIC (.heic): convert such images first"
    ]


ADVICE = "are not adjacent: sort it by name, as `tar --sort=name` packs it"
TEXTS_LAST = [(f"{n}.{end}", jpeg(n) if end == "jpg" else b"{}") for n in range(2) for end in ("jpg", "json")]
TEXTS_LAST += [("0.txt", b"a"), ("1.txt", b"b")]


def test_a_tar_that_is_not_packed_sample_by_sample_says_what_to_do(tmp_path: Path) -> None:
    """Or all captions would be empty, without a word: by every command that reads tars."""
    files = set_of(tmp_path, *TEXTS_LAST)
    with pytest.raises(DamagedInput, match=rf"byte \d+: the members of 2 samples, such as '0', {ADVICE}\)"):
        take_in("datacomp", files, tmp_path / "out")
    assert [(row["key"], row["reason"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        (key, "duplicate_key", f"key {key!r} came before in this shard, and its members {ADVICE}") for key in "01"
    ]
    kept = take_in("datacomp", files, tmp_path / "kept", run=IngestRun(workers=1, allow_damaged=True))
    assert (kept.rows_in, kept.rows_out, kept.counts["empty_texts"]) == (4, 2, 2)
    recipe = AnnotateRecipe.model_validate({"input": files, "engines": {"ocr": {"engine": "rapidocr"}}})
    reader = ShardReader(recipe, Folder(str(tmp_path / "set")), parts=[], source=ListedShards([]))
    *_, end = map(decode_message, reader(encode_shard(InputShard("a", files))))
    assert isinstance(end, ShardEnd)
    assert [line.partition(": ")[2] for line in end.damage] == [f"the members of 2 samples, such as '0', {ADVICE}"]


@pytest.mark.parametrize("below", ["", "data", "index", "manifests", "quarantine", "parts"])
def test_hidden_files_in_a_set_stop_no_resume(tmp_path: Path, below: str) -> None:
    files = set_of(tmp_path, ("0.jpg", jpeg(0)), ("0.txt", b"a"), ("1.jpg", jpeg(1)), ("1.txt", b"b"))
    first = take_in("datacomp", files, tmp_path / "out")
    (tmp_path / "out" / below).mkdir(exist_ok=True)
    for name in (".DS_Store", "._00000000.json", ".nfs0000000000c0ffee"):
        (tmp_path / "out" / below / name).write_bytes(b"another program's")
    assert take_in("datacomp", files, tmp_path / "out") == first
    assert len(read_manifests(Folder(str(tmp_path / "out")))) == 1


def test_an_output_folder_that_a_desktop_has_looked_into_is_free(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.DS_Store").write_bytes(b"Bud1")
    files = set_of(tmp_path, ("0.jpg", jpeg(0)), ("0.txt", b"a"))
    assert take_in("datacomp", files, tmp_path / "out").rows_out == 1
