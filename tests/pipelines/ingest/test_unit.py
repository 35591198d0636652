"""The work on one unit by itself: what it leaves out is written down, whatever is wrong with it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.ingest.outcomes import IngestedSample, ShardSplitter
from pipelines.ingest.row_watch import RowWatch
from pipelines.ingest.stores.open import open_stores
from pipelines.ingest.unit import IngestTask, IngestUnit
from pipelines.inputs.source_files import Item, cut_file
from pipelines.output.writer import write_quarantine
from pipelines.recipes.ingest import IngestRecipe
from schemas.errors import ShardloomError
from schemas.records.quarantine import QuarantinedRow, Reason, Rejected
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.published import ROWS, mint_pdf
from tests.pipelines.support.sets import rows


def work(tmp_path: Path, source: str, files: str, **options: object) -> tuple[IngestTask, IngestUnit]:
    """The work on the first unit of a set, with images beside it."""
    recipe = IngestRecipe.model_validate({"source": source, "input": [files], "images": [str(tmp_path)]} | options)
    found = IngestTask(recipe, Folder(str(tmp_path / "out")), open_stores(recipe.images), None, RowWatch(None))
    return found, IngestUnit(0, cut_file(found.reader, 100, files)[0])


def conversation(*images: str) -> str:
    """A line of a LLaVA set."""
    asked = "<image>" * len(images) + " what?"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": "x"}]
    return json.dumps({"image": list(images), "conversations": turns}) + "\n"


def test_a_path_that_can_be_stored_nowhere_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    (tmp_path / "a.jsonl").write_text(conversation("b\ud83d.jpg") + conversation("a.jpg"))
    found, unit = work(tmp_path, "llava", str(tmp_path / "a.jsonl"))
    (manifest,) = found(unit)
    assert (manifest.rows_in, manifest.rows_out) == (2, 1)
    (row,) = rows(tmp_path / "out", "quarantine")
    assert (row["reason"], row["detail"]) == ("lost_image", "image 0: b?.jpg is in no store")


class LosingTask(IngestTask):
    """Loses the second row of a unit on its way to the outputs."""

    def process_rows(self, unit: IngestUnit, rows: Iterable[Item]) -> Iterator[IngestedSample | QuarantinedRow]:
        for number, outcome in enumerate(super().process_rows(unit, rows)):
            if number != 1:
                yield outcome


@pytest.mark.parametrize("each", [1, 2, 100])
def test_a_unit_whose_outputs_lack_a_row_is_not_committed(tmp_path: Path, each: int) -> None:
    """Each of its outputs balances by itself, because it counts what reached it."""
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 5)
    found, unit = work(tmp_path, "text", str(tmp_path / "a.jsonl"), images=[], samples_per_shard=each)
    assert sum(manifest.rows_in for manifest in found(unit)) == 5
    losing = LosingTask(found.recipe, found.output, [], None, found.watch)
    with pytest.raises(ShardloomError, match=r"^00000000: 5 rows were read, but its outputs account for 4$"):
        losing(unit)


def test_a_fault_that_can_be_stored_nowhere_is_written_all_the_same(tmp_path: Path) -> None:
    row = QuarantinedRow.from_rejected("1", None, "ingest", Rejected(Reason.MALFORMED_ROW, "a\udc00"))
    shards = ShardSplitter(iter([row]), 5, 100)
    assert list(shards.take_next()) == []
    write_quarantine(Folder(str(tmp_path)), "00000000", shards.summarise().quarantined)
    assert [row["detail"] for row in rows(tmp_path, "quarantine")] == ["a?"]


def test_images_that_came_before_cost_no_document_that_may_lose_none(tmp_path: Path) -> None:
    """Documents do without them; a conversation, whose answers hang on it, is left out."""
    files = mint_pdf(tmp_path)
    found, unit = work(tmp_path, "mint-pdf", files, repeated_images="exact", filters={"lost_image": "drop_document"})
    (manifest,) = found(replace(unit, repeats={0: frozenset({0}), 5: frozenset({0, 1})}))
    assert (manifest.rows_out, manifest.reasons) == (ROWS, {})
    assert (manifest.counts["dropped_repeated_image"], manifest.counts["lost_images"]) == (3, 0)

    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    (tmp_path / "a.jsonl").write_text(conversation("a.jpg", "a.jpg") * 2)
    found, unit = work(tmp_path, "llava", str(tmp_path / "a.jsonl"), repeated_images="exact")
    (manifest,) = found(replace(unit, repeats={1: frozenset({0, 1})}))
    assert (manifest.rows_out, manifest.reasons) == (1, {"repeated_image": 1})
