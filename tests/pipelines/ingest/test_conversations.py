"""Conversations from Parquet with their images inside, and from JSON lists that are cut into units."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.sources import SOURCES
from curation.sources.formats import json_list
from curation.sources.formats.json_buffer import JsonBuffer
from pipelines.inputs.source_files import cut_file
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.records.document import Document
from schemas.records.document_storage import from_row
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SPOKEN = pa.struct([("role", pa.string()), ("content", pa.string())])
PART = pa.struct([("type", pa.string()), ("text", pa.string()), ("image_url", pa.struct([("url", pa.string())]))])
LISTED = pa.struct([("role", pa.string()), ("content", pa.list_(PART))])
EXCHANGE = pa.struct([("user", pa.string()), ("assistant", pa.string()), ("source", pa.string())])


def documents(folder: Path, rows_: list[dict[str, Any]], **columns: pa.DataType) -> list[Document]:
    """What becomes of a table of these rows."""
    table = pa.Table.from_pylist(rows_, schema=pa.schema(list(columns.items())))
    pq.write_table(table, folder / "in.parquet", row_group_size=2)
    take_in("llava", str(folder / "in.parquet"), folder / "out", format="parquet")
    return [from_row(row) for row in rows(folder / "out")]


def test_mantis_from_parquet(tmp_path: Path) -> None:
    said = [
        {"role": "user", "content": "<image> <image> Which is red?"},
        {"role": "assistant", "content": "The second.\n"},
    ]
    row = {"id": "m", "images": [{"bytes": jpeg(1), "path": "a.jpg"}, {"bytes": jpeg(2), "path": None}], "source": "s"}
    columns = {"id": pa.string(), "images": pa.list_(IMAGE), "conversation": pa.list_(SPOKEN), "source": pa.string()}
    found = documents(tmp_path, [row | {"conversation": said}] * 3, **columns)
    assert len(found) == 3
    assert (found[0].uid, found[0].parts) == ("m", (0, 1, "Which is red?", "The second."))
    assert found[0].roles == ("user", "user", "user", "assistant")
    assert [image.data for image in found[0].images] == [jpeg(1), jpeg(2)]
    assert [image.metadata for image in found[0].images] == ['{"path": "a.jpg"}', "{}"]
    assert json.loads(found[0].metadata) == {"source": "s"}


def test_the_cauldron_from_parquet(tmp_path: Path) -> None:
    exchanges = [{"user": "What?", "assistant": "This.", "source": "s"}, {"user": "And?", "assistant": "That."}]
    row = {"images": [{"bytes": jpeg(1)}, {"bytes": jpeg(2)}], "texts": exchanges}
    (found,) = documents(tmp_path, [row], images=pa.list_(IMAGE), texts=pa.list_(EXCHANGE))
    assert found.parts == (0, 1, "What?", "This.", "And?", "That.")
    assert found.roles == ("user", "user", "user", "assistant", "user", "assistant")
    assert [image.data for image in found.images] == [jpeg(1), jpeg(2)]


def test_messages_of_parts_from_parquet(tmp_path: Path) -> None:
    asked = [{"type": "image"}, {"type": "text", "text": "What?"}]
    said = [{"role": "user", "content": asked}, {"role": "assistant", "content": [{"type": "text", "text": "  This."}]}]
    silent = [said[0], {"role": "assistant", "content": []}]
    columns = {"images": pa.list_(IMAGE), "messages": pa.list_(LISTED), "video": pa.string()}
    made = [
        {"images": [{"bytes": jpeg(1)}], "messages": said},
        {"images": [{"bytes": jpeg(1)}], "messages": silent},
        {"images": [], "messages": said},
        {"images": [{"bytes": jpeg(1)}], "messages": said, "video": "a.mp4"},
    ]
    (found,) = documents(tmp_path, made, **columns)
    assert (found.parts, found.roles) == ((0, "What?", "  This."), ("user", "user", "assistant"))
    assert [(row["key"], row["reason"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        ("1", "malformed_row", "nobody answers"),
        ("2", "malformed_row", "0 images and 1 <image> markers"),
        ("3", "unsupported_media", "the row has video"),
    ]


def spoken(number: int) -> dict[str, Any]:
    asked = {"from": "human", "value": f"What is {number}? é"}
    return {"id": number, "conversations": [asked, {"from": "gpt", "value": "x" * number}]}


def test_units_of_a_json_list_begin_at_their_own_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The units together read the list once more, not once each; what they write is what lines would give."""
    content = [spoken(number) for number in range(1, 8)]
    (tmp_path / "a.json").write_text(json.dumps(content, indent=1, ensure_ascii=False))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    read: list[int] = []
    value = JsonBuffer.read_value
    monkeypatch.setattr(
        JsonBuffer, "read_value", lambda text, what: read.append(int(what.split()[1])) or value(text, what)
    )
    take_in("llava", str(tmp_path / "a.json"), tmp_path / "out", format="parquet", samples_per_shard=2)
    planned, first, units = read[:7], read[7:9], read[9:]
    assert (planned, first, units) == ([*range(7)], [0, 1], [*range(7)])
    take_in("llava", str(tmp_path / "a.jsonl"), tmp_path / "lines", format="parquet", samples_per_shard=2)
    assert rows(tmp_path / "out") == rows(tmp_path / "lines")
    inputs = [manifest.inputs[0] for manifest in read_manifests(Folder(str(tmp_path / "out"))).values()]
    assert [file.path.rpartition("#")[2] for file in inputs] == ["rows=0-2", "rows=2-4", "rows=4-6", "rows=6-7"]
    assert {file.size for file in inputs} == {(tmp_path / "a.json").stat().st_size}


@pytest.mark.parametrize("samples", [1, 3, 7, 8])
def test_any_cut_of_a_json_list_holds_all_rows(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([spoken(number) for number in range(7)]).encode())
    cut = cut_file(SOURCES.find("llava"), samples, str(path))
    assert [(each.start, each.stop) for each in cut] == [
        (start, min(start + samples, 7)) for start in range(0, 7, samples)
    ]
    for each in cut:
        with path.open("rb") as file:
            found = next(json_list.read_entries(file, each.item_offset, each.start))
        assert found["id"] == each.start


@pytest.mark.parametrize("place", [0, 39, 40, 99])
def test_a_stray_character_stops_the_run_before_any_work(tmp_path: Path, place: int) -> None:
    content = [json.dumps(spoken(1) | {"id": f"{number:03d}"}) for number in range(100)]
    content[place] += "?"
    (tmp_path / "a.json").write_text(f"[{', '.join(content)}]")
    with pytest.raises(UsageError) as error:
        take_in("llava", str(tmp_path / "a.json"), tmp_path / "out")
    assert str(error.value) == f"{tmp_path}/a.json: its JSON list breaks off after entry {place}"
    assert not list((tmp_path / "out").glob("data/*"))
