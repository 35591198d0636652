"""Every column that is written has a fixed name, type and nullability, down to the items of lists.

Readers depend on all three: a column that may be null where it was not breaks those that never looked for a null, and
`datasets` refuses files of one set whose schemas differ.
"""

import importlib
import inspect
import pkgutil

import pyarrow as pa
import pytest

import schemas
from schemas.layouts.blip3_grounding import blip3_grounding_schema
from schemas.layouts.blip3_ocr import blip3_ocr_schema
from schemas.layouts.datacomp import side_schema
from schemas.layouts.kale import kale_schema
from schemas.layouts.llava import TURN_TYPE, llava_schema
from schemas.output_set.shard_index import BY_REFERENCE_SCHEMA, INDEX_SCHEMA, index_schema
from schemas.records import captioned_image, document_storage
from schemas.records.annotation import annotation_schema
from schemas.records.box import BOXES_COLUMN
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN

TOKENIZER = EngineFingerprint(name="tokenizer", version="1", weights_sha256="", settings={})

_BOX = "x1: float not null, y1: float not null, x2: float not null, y2: float not null"
_LINE = f"text: string not null, polygon: fixed_size_list<item: float>[8] not null, {_BOX}, confidence: float not null"
_TAG = "name: string not null, score: float not null, source: string not null, start: int32, end: int32"
_OBJECT = f"label: string not null, phrase: string not null, {_BOX}, score: float not null"
_CAPTION = (
    "name: string not null, text: string not null, status: string not null, finish_reason: string, "
    "prompt_tokens: int32, completion_tokens: int32"
)
_FAILURE = "engine: string not null, reason: string not null, detail: string not null"
_DETAILS = "width: int32, height: int32, sha256: string"

REFERENCES = "references: list<item: struct<ending: string, tar: string, offset: int64, size: int64>>"

IMAGE = (
    *("uid: string", "url: string", "key: string not null", "caption: string not null", "sha256: string not null"),
    *("width: int32 not null", "height: int32 not null"),
)
ENGINES = (
    f"ocr: list<item: struct<{_LINE}> not null>",
    f"tags: list<item: struct<{_TAG}> not null>",
    f"boxes: list<item: struct<{_OBJECT}> not null>",
    f"captions: list<item: struct<{_CAPTION}> not null>",
)
FAILURES = f"failures: list<item: struct<{_FAILURE}> not null> not null"
LAYOUT = ("uid: string", "url: string", "key: string not null", "sha256: string not null")
TURN = ("from: string not null", "value: string not null")
CAPTIONS = ("captions: string not null", "metadata: string not null")
INDEX = (
    *("key: string not null", "uid: string", "source: string not null", "kind: string not null"),
    *("offset: int64", "size: int64", "members: list<item: struct<ending: string, offset: int64, size: int64>>"),
    *("images: int32 not null", f"image_details: list<item: struct<{_DETAILS}>> not null"),
    *("characters: int32 not null", "tokens: int32", "part_tokens: list<item: int32>", "roles: list<item: string>"),
)
SIDE = (
    *("caption: string", "url: string", "key: string", "status: string", "error_message: string"),
    *("width: int32", "height: int32", "original_width: int32", "original_height: int32"),
    *("exif: string", "sha256: string"),
)

PUBLISHED: dict[str, list[tuple[pa.Schema | pa.StructType, tuple[str, ...]]]] = {
    "layouts.blip3_grounding.blip3_grounding_schema": [
        (blip3_grounding_schema("", ""), (*LAYOUT, "cogvlm_caption: string not null", *CAPTIONS))
    ],
    "layouts.blip3_ocr.blip3_ocr_schema": [(blip3_ocr_schema(""), (*LAYOUT, *CAPTIONS))],
    "layouts.datacomp.side_schema": [
        (side_schema(has_boxes=False), ("uid: string", *SIDE)),
        (side_schema(has_boxes=True), ("uid: string", "face_bboxes: list<item: list<item: double>>", *SIDE)),
    ],
    "layouts.kale.kale_schema": [
        (
            kale_schema("", ""),
            (
                *LAYOUT,
                *("width: int32 not null", "height: int32 not null", "alt_text: string not null"),
                *("cogvlm_caption: string", "caption: string not null"),
            ),
        )
    ],
    "layouts.llava.TURN_TYPE": [(TURN_TYPE, TURN)],
    "layouts.llava.llava_schema": [
        (
            llava_schema("", ""),
            (
                *("id: string", "image: string not null", "key: string not null", "sha256: string not null"),
                f"conversations: list<item: struct<{', '.join(TURN)}> not null> not null",
            ),
        )
    ],
    "output_set.shard_index.INDEX_SCHEMA": [(INDEX_SCHEMA, INDEX)],
    "output_set.shard_index.BY_REFERENCE_SCHEMA": [(BY_REFERENCE_SCHEMA, (*INDEX, REFERENCES))],
    "output_set.shard_index.index_schema": [
        (index_schema(None), INDEX),
        (index_schema(TOKENIZER), INDEX),
        (index_schema(TOKENIZER, by_reference=True), (*INDEX, REFERENCES)),
    ],
    "records.annotation.annotation_schema": [
        (annotation_schema([]), (*IMAGE, FAILURES)),
        (annotation_schema([OCR_COLUMN, TAGS_COLUMN, BOXES_COLUMN, CAPTIONS_COLUMN]), (*IMAGE, *ENGINES, FAILURES)),
    ],
    "records.captioned_image.JSON_TYPE": [
        (
            captioned_image.JSON_TYPE,
            (
                *("key: string", "uid: string", "url: string", "source_shard: string", "source_key: string"),
                *("width: int32", "height: int32", "sha256: string", "alt_text: string"),
                *("captions: string", "metadata: string"),
            ),
        )
    ],
    "records.captioned_image.PARQUET_SCHEMA": [
        (
            captioned_image.PARQUET_SCHEMA,
            (
                *("image: struct<bytes: binary, path: string>", "text: string not null", "key: string not null"),
                *("uid: string not null", "url: string not null", "source_shard: string not null"),
                *("source_key: string not null", "sha256: string not null", "alt_text: string not null"),
                *(*CAPTIONS, "width: int32 not null", "height: int32 not null"),
            ),
        )
    ],
    "records.document_storage.JSON_TYPE": [
        (
            document_storage.JSON_TYPE,
            (
                *("uid: string", "source: string", "url: string", "metadata: string"),
                "parts: list<item: struct<text: string, image: int32>>",
                f"images: list<item: struct<extension: string, {_DETAILS}, url: string, metadata: string>>",
                "roles: list<item: string>",
            ),
        )
    ],
    "records.document_storage.PARQUET_SCHEMA": [
        (
            document_storage.PARQUET_SCHEMA,
            (
                *("key: string not null", "uid: string", "source: string not null", "url: string"),
                *("texts: list<item: string>", "images: list<item: struct<bytes: binary, path: string>>"),
                f"image_details: list<item: struct<{_DETAILS}, url: string, metadata: string>>",
                *("metadata: string not null", "roles: list<item: string>"),
            ),
        )
    ],
    "records.quarantine.QUARANTINE_SCHEMA": [
        (
            QUARANTINE_SCHEMA,
            (
                *("key: string not null", "uid: string", "stage: string not null", "reason: string not null"),
                "detail: string not null",
            ),
        )
    ],
}
"""Each schema's place in `schemas`, and what it is; a function that makes schemas has one entry for each form."""


def show_fields(schema: pa.Schema | pa.StructType) -> tuple[str, ...]:
    """Returns name, type and nullability of each field, as Arrow prints them."""
    return tuple(str(field).removeprefix("pyarrow.Field<").removesuffix(">") for field in schema)


@pytest.mark.parametrize("place", PUBLISHED)
def test_every_field_is_as_published(place: str) -> None:
    assert [show_fields(schema) for schema, _ in PUBLISHED[place]] == [fields for _, fields in PUBLISHED[place]]


def test_no_schema_is_left_out() -> None:
    found = set()
    for module in pkgutil.walk_packages(schemas.__path__, "schemas."):
        for name, value in vars(importlib.import_module(module.name)).items():
            is_schema = isinstance(value, pa.Schema) or (name.endswith("_TYPE") and isinstance(value, pa.StructType))
            is_own_function = inspect.isfunction(value) and value.__module__ == module.name and name[0] != "_"
            if is_schema or (is_own_function and name.endswith("_schema") and not name.startswith("read_")):
                found.add(f"{module.name.removeprefix('schemas.')}.{name}")
    assert found == PUBLISHED.keys()
