"""The demo's documents: the layout of MINT-1T HTML, the same each time, and taken in with one image lost."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.demo.documents import DOCUMENTS_FILE, LOST_IMAGE_DOCUMENT, URL_MAP_FILE, write_documents
from pipelines.ingest.run import ingest
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from schemas.records.document_storage import from_members
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import every_file

COUNT = 9


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_documents(Folder(str(tmp_path / name)), COUNT, seed)
    assert every_file(tmp_path / "a") == every_file(tmp_path / "b")
    assert every_file(tmp_path / "a")[DOCUMENTS_FILE] != every_file(tmp_path / "c")[DOCUMENTS_FILE]


def test_they_are_ingested_as_they_were_written(tmp_path: Path) -> None:
    write_documents(Folder(str(tmp_path)), COUNT)
    table = pq.read_table(tmp_path / DOCUMENTS_FILE).to_pylist()
    places = json.loads((tmp_path / URL_MAP_FILE).read_text())
    recipe = IngestRecipe(
        source="mint-html",
        input=[str(tmp_path / DOCUMENTS_FILE)],
        images=[str(tmp_path / URL_MAP_FILE)],
        run=IngestRun(workers=1),
    )
    totals = ingest(recipe, str(tmp_path / "out"))
    assert (totals.rows_in, totals.rows_out, totals.quarantined) == (COUNT, COUNT, 0)
    assert (totals.counts["images"], totals.counts["lost_images"]) == (len(places), 1)
    assert len(places) == 2 + 1 + 2 + 3 + 2 + 1 + 2 + 3 + 2 - 1
    data = (tmp_path / "out/data/00000000.tar").read_bytes()
    index = pq.read_table(tmp_path / "out/index/00000000.parquet").to_pylist()
    for number, (row, found) in enumerate(zip(table, index, strict=True)):
        assert len(row["image_hashes"]) == sum(url is not None for url in row["images"])
        members = {m["ending"]: data[m["offset"] :][: m["size"]] for m in found["members"]}
        document = from_members(found["key"], members)
        lost = 1 if number == LOST_IMAGE_DOCUMENT else 0
        assert [image.sha256 for image in document.images] == row["image_hashes"][lost:]
        assert [part for part in document.parts if isinstance(part, str)] == [text for text in row["texts"] if text]
        assert document.parts[0] == row["texts"][0]
        for image in document.images:
            assert image.url is not None
            assert hashlib.sha256((tmp_path / places[image.url]).read_bytes()).hexdigest() == image.sha256
