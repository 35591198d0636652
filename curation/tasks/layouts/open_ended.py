"""Declares sets whose answers are sentences."""

from collections.abc import Iterator
from typing import Any

from curation.sources.formats.fields import malformed_row_error
from curation.sources.formats.json_list import read_entries
from curation.sources.formats.json_object import read_named_objects
from curation.tasks.layouts.layout import Fields, Layout, Row

_REQUESTS = {  # of VLGuard: the subset that asks each
    "instruction": "unsafes",  # about a harmful image
    "unsafe_instruction": "safe_unsafes",
    "safe_instruction": "safe_safes",
}


def read_vlguard(row: Row) -> Iterator[Row]:
    """Yields the requests about an image of VLGuard, each of the split whose name the publisher gives its subset.

    The attack success rate is of `unsafes` and `safe_unsafes`. Requests have no right answer.
    """
    asked, uid = row.get("instr-resp"), row.get("id")
    if not isinstance(asked, list):
        raise malformed_row_error("instr-resp is not a list")
    for one in asked:
        name = next((name for name in _REQUESTS if isinstance(one, dict) and name in one), None)
        if name is None:
            raise malformed_row_error("an entry of instr-resp has no instruction")
        subset = _REQUESTS[name]
        about = {"image": row.get("image"), "category": row.get("harmful_subcategory"), "split": subset}
        yield {**about, "id": None if uid is None else f"{uid}/{subset}", "question": one[name]}


def join_capabilities(row: Row) -> Iterator[Row]:
    """Yields a question of MM-Vet, whose category is what it needs together, such as `math+ocr`."""
    needed: Any = row.get("capability")
    if isinstance(needed, str):
        needed = [one.strip() for one in needed.split(",")]
    yield {**row, "category": "+".join(sorted(map(str, needed)))} if isinstance(needed, list) else row


LAYOUTS = (
    Layout(
        "vlguard",  # `test.json`
        Fields(id=("id",), answers=(), images=("image",)),
        items={".json": read_entries},
        prepare=read_vlguard,
    ),
    Layout(
        "mmvet",  # `mm-vet.json`; the images are in the folder `images`
        Fields(images=("image", "imagename")),
        items={".json": read_named_objects("question_id")},
        prepare=join_capabilities,
    ),
)
