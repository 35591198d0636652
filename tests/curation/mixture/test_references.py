"""References become the present paths of tars, or are refused."""

from typing import Any

import pyarrow as pa
import pytest

from curation.mixture.references import StrayReference, locate_references, locate_row, sum_image_bytes
from schemas.output_set.shard_index import INDEX_SCHEMA, REFERENCES

FOLDERS = {"/images": "/new"}


def reference(tar: Any, size: int | None = 5, ending: Any = "jpg") -> dict[str, Any]:
    return {"ending": ending, "tar": tar, "offset": 512, "size": size}


def index(*cells: list[dict[str, Any]] | None) -> pa.Table:
    keys = pa.array([str(number) for number in range(len(cells))])
    return pa.table([keys, pa.array(cells, REFERENCES.type)], ["key", "references"])


def test_each_tar_is_named_by_its_present_path() -> None:
    cells = [[reference("/images/1.tar")], None, [], [reference("/images/0.tar", 7), reference("/images/1.tar", None)]]
    table = index(*cells)
    expected = [[reference("/new/1.tar")], None, [], [reference("/new/0.tar", 7), reference("/new/1.tar", None)]]
    assert locate_references(table, FOLDERS)["references"].to_pylist() == expected
    assert locate_references(table.slice(2), FOLDERS)["references"].to_pylist() == expected[2:]
    assert [locate_row(row, FOLDERS)["references"] for row in table.to_pylist()] == expected
    assert sum_image_bytes(table).to_pylist() == [5, 0, 0, 7]
    assert sum_image_bytes(table.slice(3)).to_pylist() == [7]


def test_an_index_without_references_gets_the_column() -> None:
    found = locate_references(INDEX_SCHEMA.empty_table(), {})
    assert found.schema.names == [*INDEX_SCHEMA.names, "references"]
    assert locate_row({"key": "0"}, {}) == {"key": "0"}


@pytest.mark.parametrize(
    ("stray", "fault"),
    [
        (reference("/etc/0.tar"), "it refers to /etc/0.tar, which is not a tar in a folder that its manifest names"),
        (reference("/images/key"), "it refers to /images/key, which is not a tar in a folder that its manifest names"),
        (reference(None), "it refers to None, which is not a tar in a folder that its manifest names"),
        (reference("/images/0.tar", ending="../x"), "it refers to an image with the ending '../x'"),
        (reference("/images/0.tar", ending=None), "it refers to an image with the ending None"),
    ],
)
def test_what_leads_astray_is_refused(stray: dict[str, Any], fault: str) -> None:
    table = index([reference("/images/0.tar")], [reference("/images/0.tar"), stray])
    for refused in (lambda: locate_references(table, FOLDERS), lambda: locate_row(table.to_pylist()[1], FOLDERS)):
        with pytest.raises(StrayReference) as error:
            refused()
        assert str(error.value) == fault
