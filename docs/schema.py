"""Writes the tables of `docs/schema.md` from the Arrow schemas: `python -m docs.schema`.

Names, types and nullability come from the schemas. The meanings of the columns are written by hand in the page, and are
kept.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from schemas.layouts.blip3_grounding import blip3_grounding_schema
from schemas.layouts.blip3_ocr import blip3_ocr_schema
from schemas.layouts.kale import kale_schema
from schemas.layouts.llava import llava_schema
from schemas.output_set.shard_index import BY_REFERENCE_SCHEMA
from schemas.records import captioned_image, document_storage
from schemas.records.annotation import annotation_schema
from schemas.records.box import BOXES_COLUMN
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN

PAGE = Path(__file__).with_suffix(".md")
SCHEMAS = {
    "Annotation set": annotation_schema([OCR_COLUMN, TAGS_COLUMN, BOXES_COLUMN, CAPTIONS_COLUMN]),
    "OCR captions": blip3_ocr_schema(""),
    "Grounding captions": blip3_grounding_schema("", ""),
    "Knowledge captions": kale_schema("", ""),
    "Conversations of a captioner": llava_schema("", ""),
    "Captioned images, as Parquet": captioned_image.PARQUET_SCHEMA,
    "Documents and conversations, as Parquet": document_storage.PARQUET_SCHEMA,
    "Index of a training shard": BY_REFERENCE_SCHEMA,
    "Quarantine": QUARANTINE_SCHEMA,
}
"""The page's sections, and the schema that each one shows."""

_ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| [^|]* \| [^|]* \| (?P<meaning>.*) \|$")


def columns(field: pa.Field, above: str = "") -> Iterator[tuple[str, str, bool]]:
    """Yields the name, type and nullability of a column and of the fields inside it. `[]` marks an item of a list."""
    name, kind = above + field.name, field.type
    lists = 0
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, lists = kind.value_type, lists + 1
    inner = f"{name}{'[]' * lists}."
    yield name, "list of " * lists + ("struct" if pa.types.is_struct(kind) else str(kind)), field.nullable
    if pa.types.is_struct(kind):
        for part in kind:
            yield from columns(part, inner)


def meanings(page: str) -> dict[tuple[str, str], str]:
    """Returns the meaning of each column in the page, by section and name."""
    found = {}
    for section in page.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        for line in body.splitlines():
            if row := _ROW.match(line):
                found[title, row["name"]] = row["meaning"]
    return found


def render_page(page: str) -> str:
    """Returns the page with its tables rebuilt from the schemas. A column new to the page gets an empty meaning."""
    known, sections = meanings(page), [page.partition("\n## ")[0]]
    for title, schema in SCHEMAS.items():
        before = re.search(rf"\n## {re.escape(title)}\n(.*?)\n\| column ", page, re.DOTALL)
        lines = [
            f"| `{name}` | {kind} | {'yes' if nullable else ''} | {known.get((title, name), '')} |"
            for field in schema
            for name, kind, nullable in columns(field)
        ]
        head = "| column | type | null | meaning |\n|---|---|---|---|"
        sections.append(f"{title}\n{before[1] if before else ''}\n{head}\n" + "\n".join(lines) + "\n")
    return "\n## ".join(sections)


if __name__ == "__main__":
    PAGE.write_text(render_page(PAGE.read_text()))
