"""Every source becomes shards that other libraries read, with true indexes; no row is lost; wrong use is one line."""

import gzip
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import load_dataset
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from pipelines.cli.app import main
from pipelines.output.totals import DamagedInput
from pipelines.recipes.ingest import IngestRun
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.shard_index import get_tokenizer
from schemas.records.document import Document
from schemas.records.document_storage import from_members, from_row
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import (
    CAPTIONS,
    NEED_STORE,
    ROWS,
    SETS,
    caption,
    interleaved,
    parts,
    picture,
    take_in,
    url,
    write_parquet,
    write_text,
)
from tests.pipelines.support.sets import rows


@pytest.fixture(scope="module")
def store(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """img2dataset shards with all the pictures."""
    return make_shards(tmp_path_factory.mktemp("store"), shards=1, samples=ROWS + 3)


def images_for(source: str, store: str, folder: Path) -> list[str]:
    """What `--images` is given for a source."""
    if source == "visual-genome":
        return [str(folder / "VG_100K"), str(folder / "VG_100K_2")]
    return [store] if source in NEED_STORE else []


def samples_of(output: Path) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """The index row of each sample and its members, by the one range read that the index tells."""
    for path in sorted((output / "data").glob("*.tar")):
        data = path.read_bytes()
        for row in pq.read_table(output / "index" / f"{path.stem}.parquet").to_pylist():
            span = data[row["offset"] :][: row["size"]]
            at = {each["ending"]: each["offset"] - row["offset"] for each in row["members"]}
            yield row, {each["ending"]: span[at[each["ending"]] :][: each["size"]] for each in row["members"]}


def documents_of(output: Path) -> list[Document]:
    """The documents of a set, from either form."""
    if list((output / "data").glob("*.tar")):
        return [from_members(row["key"], members) for row, members in samples_of(output)]
    return [from_row(row) for row in rows(output)]


def pixels(data: bytes) -> "np.ndarray[Any, Any]":
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
@pytest.mark.parametrize("source", SETS)
def test_every_source(source: str, form: str, store: str, tmp_path: Path) -> None:
    files, output = SETS[source](tmp_path), tmp_path / "out"
    totals = take_in(source, files, output, images_for(source, store, tmp_path), format=form)
    assert (totals.rows_in, totals.rows_out, totals.quarantined) == (ROWS, ROWS, 0)
    assert verify(str(output))[1] == []
    assert not (output / "parts").exists()
    index = rows(output, "index")
    assert [row["key"] for row in index] == [f"00000000{row:06d}" for row in range(ROWS)]
    assert {row["source"] for row in index} == {source}
    if source in CAPTIONS:
        assert {row["kind"] for row in index} == {"captioned_image"}
        if form == "webdataset":
            found = [(members["txt"].decode(), members["jpg"]) for _, members in samples_of(output)]
        else:
            found = [(row["text"], row["image"]["bytes"]) for row in rows(output)]
        assert found == [(caption(row), picture(row)) for row in range(ROWS)]
        return
    documents = documents_of(output)
    if source == "text":
        assert {row["kind"] for row in index} == {"text"}
        assert [(doc.uid, doc.parts) for doc in documents] == [(f"t{row}", (caption(row),)) for row in range(ROWS)]
        return
    assert {row["kind"] for row in index} == {"document"}
    assert [list(document.parts) for document in documents] == [parts(row) for row in range(ROWS)]
    for row, document in enumerate(documents):
        for image, number in zip(document.images, (row, (row + 5) % ROWS), strict=True):
            assert np.array_equal(pixels(image.data), pixels(picture(number)))
            assert source.startswith("mint-") or image.data == picture(number)


def test_webdataset_and_datasets_read_captions(store: str, tmp_path: Path) -> None:
    take_in("cc3m", SETS["cc3m"](tmp_path), tmp_path / "out", store, samples_per_shard=5)
    files = sorted(map(str, (tmp_path / "out/data").glob("*.tar")))
    assert len(files) == 3
    samples = list(webdataset.WebDataset(files, shardshuffle=False))
    assert [sample["txt"].decode() for sample in samples] == [caption(row) for row in range(ROWS)]
    assert [sample["jpg"] for sample in samples] == [picture(row) for row in range(ROWS)]
    loaded = load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["txt"] == [caption(row) for row in range(ROWS)]
    assert [details["source_key"] for details in loaded["json"]] == [str(row) for row in range(ROWS)]


def test_webdataset_datasets_and_polars_read_documents(store: str, tmp_path: Path) -> None:
    files = SETS["obelics"](tmp_path)
    take_in("obelics", files, tmp_path / "tars", store)
    (sample, *_) = webdataset.WebDataset(str(tmp_path / "tars/data/00000000.tar"), shardshuffle=False)
    assert (sample["0.jpg"], sample["1.jpg"]) == (picture(0), picture(5))
    assert json.loads(sample["json"])["parts"][:2] == [{"text": "before 0"}, {"image": 0}]
    take_in("obelics", files, tmp_path / "tables", store, format="parquet")
    tables = f"{tmp_path}/tables/data/*.parquet"
    loaded = load_dataset("parquet", data_files=tables, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded[3]["texts"] == ["before 3", None, "between 3", None, "after 3"]
    assert [image and image.size for image in loaded[3]["images"]] == [None, (64, 48), None, (64, 48), None]
    frame = pl.read_parquet(tables)
    assert frame["texts"].to_list()[3] == loaded[3]["texts"]
    assert frame["images"].to_list()[3][1]["bytes"] == picture(3)


def test_row_groups_are_small(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"text {number}"}) + "\n" for number in range(200))
    take_in("text", write_text(tmp_path / "a.jsonl", lines), tmp_path / "out", format="parquet")
    metadata = pq.read_metadata(tmp_path / "out/data/00000000.parquet")
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [64, 64, 64, 8]


@pytest.mark.parametrize("source", ["mint-html", "cc3m", "sbu", "visual-genome", "text"])
@pytest.mark.parametrize("each", [1, 5, ROWS, 100])
def test_shards_are_cut_by_samples(source: str, each: int, store: str, tmp_path: Path) -> None:
    files = SETS[source](tmp_path)
    images = images_for(source, store, tmp_path)
    totals = take_in(source, files, tmp_path / "out", images, samples_per_shard=each)
    manifests = read_manifests(Folder(str(tmp_path / "out")))
    assert list(manifests) == [f"{number:08d}" for number in range(-(-ROWS // each))]
    assert [manifest.rows_out for manifest in manifests.values()][:-1] == [each] * (len(manifests) - 1)
    assert (totals.rows_in, totals.rows_out) == (ROWS, ROWS)
    take_in(source, files, tmp_path / "whole", images)
    found, whole = (
        [(row["image_details"], row["characters"]) for row in rows(tmp_path / name, "index")]
        for name in ("out", "whole")
    )
    assert found == whole


@pytest.mark.parametrize("source", ["mint-pdf", "datacomp", "mint-html"])
def test_shards_are_cut_by_bytes_and_tars_by_samples(source: str, store: str, tmp_path: Path) -> None:
    files, images = SETS[source](tmp_path), images_for(source, store, tmp_path)
    take_in(source, files, tmp_path / "whole", images)
    largest = max(row["size"] for row in rows(tmp_path / "whole", "index"))
    options = {"samples_per_shard": 5} if source == "mint-pdf" else {"bytes_per_shard": 3 * largest}
    totals = take_in(source, files, tmp_path / "out", images, **options)
    assert (totals.rows_in, totals.rows_out) == (ROWS, ROWS)
    names = sorted(path.stem for path in (tmp_path / "out/data").glob("*.tar"))
    assert names[:2] == ["00000000", "00000000_001"]
    spans = [[row["size"] for row in rows_of] for rows_of in (index_of(tmp_path / "out", name) for name in names)]
    if source == "mint-pdf":
        assert [len(sizes) for sizes in spans] == [5, 5, 2]
    else:
        assert all(sum(sizes) <= 3 * largest for sizes in spans)
        assert all(sum(sizes) + after[0] > 3 * largest for sizes, after in itertools.pairwise(spans))
    assert [row["key"] for name in names for row in index_of(tmp_path / "out", name)] == [
        row["key"] for row in rows(tmp_path / "whole", "index")
    ]
    assert verify(str(tmp_path / "out"))[1] == []


def index_of(output: Path, name: str) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(output / "index" / f"{name}.parquet").to_pylist()
    return table


def test_bad_rows_cost_no_neighbour(store: str, tmp_path: Path) -> None:
    lines = [f"{caption(row)}\t{url(row)}" for row in range(ROWS)]
    lines[1] = "no tab"
    lines[3] = f"\t{url(3)}"
    lines[4] = "a caption\tftp://example.org/x.jpg"
    lines[5] = f"lost\t{url(999)}"
    data = "\n".join(lines).encode().replace(caption(7).encode(), b"\xff\xfe")
    (tmp_path / "a.tsv").write_bytes(data)
    totals = take_in("cc3m", str(tmp_path / "a.tsv"), tmp_path / "out", store)
    assert (totals.rows_in, totals.rows_out) == (ROWS, ROWS - 5)
    found = {row["key"]: (row["reason"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")}
    assert found == {
        "1": ("malformed_row", "1 columns, not 2"),
        "3": ("no_caption", "the caption is empty"),
        "4": ("missing_image", "no web address: 'ftp://example.org/x.jpg'"),
        "5": ("lost_image", f"{url(999)} is in no store"),
        "7": ("not_text", "the caption: a byte that is not UTF-8 (0xff) at character 0"),
    }
    assert totals.counts["characters"] == sum(len(caption(row)) for row in (0, 2, 6, 8, 9, 10, 11))


def test_headers_blank_lines_and_marks_are_no_rows(store: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(f"\ufeffcaption\turl\n\none\t{url(1)}\r\n \ntwo\t{url(2)}")
    totals = take_in("cc3m", str(tmp_path / "a.tsv"), tmp_path / "out", store, samples_per_shard=1)
    assert (totals.rows_in, totals.rows_out, totals.outputs) == (2, 2, 2)
    assert [members["txt"] for _, members in samples_of(tmp_path / "out")] == [b"one", b"two"]


def test_lost_and_filtered_images_are_counted(store: str, tmp_path: Path) -> None:
    content = [interleaved(row) for row in range(4)]
    content[1]["images"][1] = "https://example.org/nowhere.jpg"
    content[2]["images"][3] = content[2]["images"][1]
    content[3]["images"] = [None, "data:x", None, "data:y", None]
    files = write_parquet(tmp_path / "a.parquet", content)
    totals = take_in("obelics", files, tmp_path / "out", store)
    documents = documents_of(tmp_path / "out")
    assert [len(document.images) for document in documents] == [2, 1, 1, 0]
    assert documents[1].parts == ("before 1", "between 1", 0, "after 1")
    expected = {"dropped_lost_image": 3, "dropped_repeated_image_in_document": 1, "lost_images": 3, "documents": 4}
    assert expected.items() <= totals.counts.items()
    assert (totals.counts["images"], totals.counts["texts"]) == (4, 12)
    assert [row["kind"] for row in rows(tmp_path / "out", "index")] == ["document"] * 3 + ["text"]
    strict = take_in("obelics", files, tmp_path / "strict", store, filters={"lost_image": "drop_document"})
    assert (strict.rows_in, strict.rows_out, strict.reasons) == (4, 2, {"lost_image": 2})


def test_an_undecodable_image_is_lost_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number, data in enumerate((picture(0), picture(1)[:-200], b"<html>", b"")):
        (tmp_path / f"files/{number}").write_bytes(data)
    write_text(tmp_path / "map.json", json.dumps({url(number): f"files/{number}" for number in range(4)}))
    lines = "".join(f"{caption(row)}\t{url(row)}\n" for row in range(4))
    files, images = write_text(tmp_path / "a.tsv", lines), str(tmp_path / "map.json")
    totals = take_in("cc3m", files, tmp_path / "out", images)
    assert (totals.rows_out, totals.reasons) == (1, {"decode_error": 1, "not_an_image": 2})


@pytest.mark.parametrize(("source", "images"), [("mint-pdf", 2 * ROWS), ("datacomp", ROWS)])
def test_one_limit_holds_for_frames_and_images(source: str, images: int, tmp_path: Path) -> None:
    """Of pictures of 64 x 48 pixels, whether they are taken from a TIFF, or only checked."""
    files = SETS[source](tmp_path)
    lost = []
    for most in (64 * 48, 64 * 48 - 1):
        options: dict[str, Any] = {"read": {"limits": {"max_pixels": most}}, "repeated_images": "alike"}
        totals = take_in(source, files, tmp_path / f"out{most}", **options)
        lost.append(totals.reasons.get("too_many_pixels", 0) + totals.counts.get("dropped_too_many_pixels", 0))
    assert lost == [0, images]


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_tokens_are_counted_by_the_named_tokenizer(form: str, store: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    files, name = SETS["obelics"](tmp_path), str(tmp_path / "tokenizer.json")
    totals = take_in("obelics", files, tmp_path / "out", store, format=form, tokenizer=name)
    assert totals.counts["tokens"] == 6 * ROWS
    assert {row["tokens"] for row in rows(tmp_path / "out", "index")} == {6}
    fingerprint = get_tokenizer(pq.read_schema(tmp_path / "out/index/00000000.parquet"))
    assert fingerprint is not None
    assert read_manifests(Folder(str(tmp_path / "out")))["00000000"].fingerprints == {"tokenizer": fingerprint}
    tokenizer.add_tokens(["before"])
    tokenizer.save(name)
    with pytest.raises(UsageError, match=r"the tokenizer has changed since .*/data/00000000 was committed"):
        take_in("obelics", files, tmp_path / "out", store, format=form, tokenizer=name)


def test_images_that_came_before_are_left_out(store: str, tmp_path: Path) -> None:
    """Over two files and several units, with the same outcome however the input is cut."""
    for number in range(2):
        write_parquet(tmp_path / f"{number}.parquet", [interleaved(row) for row in range(ROWS)])
    seen: set[bytes] = set()
    expected = []
    for row in [*range(ROWS)] * 2:
        own = [data for data in (picture(row), picture((row + 5) % ROWS)) if data not in seen]
        seen |= set(own)
        expected.append(own)
    for each in (5, 100):
        output = tmp_path / f"out{each}"
        options: dict[str, Any] = {"samples_per_shard": each, "repeated_images": "exact"}
        totals = take_in("obelics", f"{tmp_path}/*.parquet", output, store, **options)
        assert [[image.data for image in document.images] for document in documents_of(output)] == expected
        assert totals.counts["dropped_repeated_image"] == 4 * ROWS - len(seen)
        assert totals.counts["lost_images"] == 0
    lines = "".join(f"{caption(row)}\t{url(row // 2)}\n" for row in range(ROWS))
    files = write_text(tmp_path / "a.tsv", lines)
    totals = take_in("cc3m", files, tmp_path / "captions", store, repeated_images="exact")
    assert (totals.rows_out, totals.reasons) == (ROWS // 2, {"repeated_image": ROWS // 2})


def test_images_that_look_alike_are_left_out(tmp_path: Path) -> None:
    sizes = ((200, 150), (200, 150), (110, 80), (200, 150))
    for number, (seed, size) in enumerate(zip((1, 2, 1, 3), sizes, strict=True)):
        grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        smooth = Image.fromarray(grid).resize((200, 150), Image.Resampling.BICUBIC)
        smooth.resize(size).save(tmp_path / f"{number}.jpg", quality=85)
    items = [
        {"id": number, "regions": [{"phrase": "thing", "x": 0, "y": 0, "width": 1, "height": 1}]} for number in range(4)
    ]
    files = write_text(tmp_path / "region_descriptions.json", json.dumps(items))
    for how, kept in (("exact", ["0", "1", "2", "3"]), ("alike", ["0", "1", "3"])):
        take_in("visual-genome", files, tmp_path / how, str(tmp_path), repeated_images=how)
        assert [row["uid"] for row in rows(tmp_path / how, "index")] == kept


def test_the_same_bytes_again_and_after_losing_outputs(store: str, tmp_path: Path) -> None:
    files = SETS["obelics"](tmp_path)
    for name in ("one", "two"):
        take_in("obelics", files, tmp_path / name, store, samples_per_shard=5)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    (tmp_path / "two/manifests/00000001.json").unlink()
    (tmp_path / "two/data/00000001.tar").write_bytes(b"half")
    take_in("obelics", files, tmp_path / "two", store, samples_per_shard=5)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")


def test_changed_inputs_are_refused(store: str, tmp_path: Path) -> None:
    files = SETS["cc3m"](tmp_path)
    take_in("cc3m", files, tmp_path / "out", store)
    with pytest.raises(UsageError, match=r"holds another recipe \(input is .*\): use a new output folder"):
        take_in("cc3m", f"{tmp_path}/*.tsv", tmp_path / "out", store)
    Path(files).write_text(Path(files).read_text() + f"more\t{url(1)}\n")
    with pytest.raises(UsageError, match=r"the input or its images have changed since .*/data/00000000 was committed"):
        take_in("cc3m", files, tmp_path / "out", store)


def test_a_damaged_tar_ends_with_an_error(tmp_path: Path) -> None:
    files = SETS["datacomp"](tmp_path)
    Path(files).write_bytes(Path(files).read_bytes()[:-12_000])
    with pytest.raises(DamagedInput, match=r"00000000: 00000\.tar: byte .*; their readable samples are committed"):
        take_in("datacomp", files, tmp_path / "out")
    totals = take_in("datacomp", files, tmp_path / "out", run=IngestRun(workers=1, allow_damaged=True))
    assert totals.rows_in == totals.rows_out + totals.quarantined
    assert totals.rows_out > 5


def test_a_damaged_tar_of_images_ends_with_an_error(store: str, tmp_path: Path) -> None:
    """What it has lost is counted with the rows; the tar itself is named once, in the first unit."""
    (tmp_path / "packed.tar").write_bytes(gzip.compress(b"\0" * 10_240))
    options: dict[str, Any] = {"samples_per_shard": 5}
    files = SETS["cc3m"](tmp_path)
    told = r"1 shards are damaged \(00000000: images packed\.tar: byte 0: compressed by gzip \(decompress it first\)\)"
    with pytest.raises(DamagedInput, match=told):
        take_in("cc3m", files, tmp_path / "out", [store, str(tmp_path / "packed.tar")], **options)
    options["run"] = IngestRun(workers=1, allow_damaged=True)
    totals = take_in("cc3m", files, tmp_path / "out", [store, str(tmp_path / "packed.tar")], **options)
    assert (totals.rows_in, totals.rows_out, totals.outputs, len(totals.damaged)) == (ROWS, ROWS, 3, 1)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that was used wrongly."""
    with pytest.raises(SystemExit) as done:
        main(["ingest", *map(str, arguments)])
    printed = capsys.readouterr()
    assert (done.value.code, printed.out, printed.err.count("\n")) == (2, "", 1), printed.err
    return printed.err.removeprefix("error: ").rstrip()


def test_wrong_use_is_one_line(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("-o", tmp_path / "out")
    tsv, html, tar = SETS["cc3m"](tmp_path), SETS["mint-html"](tmp_path), SETS["datacomp"](tmp_path)
    found = error_of(capsys, "laion", "-i", tsv, *out)
    assert found.startswith("recipe: source: no source is named 'laion': use one of mint-html, mint-pdf, mint-arxiv, ")
    nothing = f"{tmp_path}/none/*.tar"
    assert error_of(capsys, "datacomp", "-i", nothing, *out) == f"no file matches {nothing}"
    assert error_of(capsys, "obelics", "-i", tsv, *out) == (
        f"{tsv} is not a .parquet file: the glob should match only files of obelics"
    )
    assert error_of(capsys, "kale", "-i", html, *out) == f"{html} has no column url or caption: is it another set's?"
    assert error_of(capsys, "cc12m", "-i", tsv, "--images", store, *out) == (
        f"{tsv}: 12 of its first 12 lines have a URL for the caption: is it cc3m?"
    )
    assert error_of(capsys, "mint-pdf", "-i", tar, *out) == (
        f"{tar} does not have the layout of mint-pdf: none of its first 12 rows fits it "
        "(row 0: neither a text nor an image)"
    )
    assert error_of(capsys, "obelics", "-i", html, *out) == (
        f"{html}: obelics holds URLs in place of images: pass --images with img2dataset shards of them, a map of URLs "
        "to files, or a folder; or --download"
    )
    assert error_of(capsys, "obelics", "-i", html, "--images", nothing, *out) == f"no file matches {nothing}"
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing PAR1")
    assert error_of(capsys, "obelics", "-i", broken, *out).startswith(f"{broken} is not a Parquet file: ")
    listing = write_text(tmp_path / "sbu.json", '{"image_urls": []}')
    assert error_of(capsys, "sbu", "-i", listing, *out) == (
        f"{listing}: it has no arrays image_urls and captions: is it sbu-captions-all.json?"
    )
    empty = write_text(tmp_path / "empty.tsv", "\n")
    assert error_of(capsys, "cc3m", "-i", empty, *out) == f"there is no row in {empty}"
    assert not (tmp_path / "out").exists()


def test_a_line_that_never_ends_is_not_held(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "one"}\n' + b"x" * (65 << 20) + b'\n{"text": "two"}\n')
    totals = take_in("text", str(tmp_path / "a.jsonl"), tmp_path / "out")
    assert (totals.rows_out, totals.reasons) == (2, {"malformed_row": 1})


def test_the_source_can_have_another_name(tmp_path: Path) -> None:
    files = SETS["text"](tmp_path)
    take_in("text", files, tmp_path / "out", name="books")
    assert {row["source"] for row in rows(tmp_path / "out", "index")} == {"books"}
    assert {document.source for document in documents_of(tmp_path / "out")} == {"books"}
