"""Describes a set in Croissant 1.1 (https://docs.mlcommons.org/croissant): its files with hashes, and its rows.

The rows are those of the Parquet files: annotations, captions, samples, and of tars their indexes or img2dataset's
tables. mlcroissant extracts a tar into a folder of its cache that it names after the tar's relative path alone, so that
of two sets with `data/00000000.tar` it would read one for the other: tars are listed and hashed, and not described.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from pipelines.output.card import merge_schemas
from schemas.errors import ShardloomError, to_one_line
from schemas.output_set.features import IMAGE, decode_dictionary
from schemas.output_set.layout import DATA, INDEX
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_parquet_schema

VERSION = "http://mlcommons.org/croissant/1.1"
ROWS = "rows"
"""The id of the record set, and of the file set that it is read from with `-files`."""

_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())  # mlcroissant gives all of them as bytes
_FORMATS = {"parquet": "application/x-parquet", "tar": "application/x-tar", "json": "application/json"}
_CROISSANT_TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "sc": "https://schema.org/",
} | {term: f"cr:{term}" for term in _CROISSANT_TERMS}
"""The context of the specification."""


def build_croissant(
    output: Folder, name: str, kind: str, manifests: Mapping[str, Manifest], license: str | None
) -> dict[str, Any]:
    """Returns the JSON-LD of a set. Columns of a type that Croissant does not have are left out."""
    files = [out for manifest in manifests.values() for out in manifest.outputs]
    folder, tables = _find_tables(files)
    schema = merge_schemas(output.map_files(lambda path: _read_schema(output, path), tables))
    described = {"name": name, "description": f"Output of `shardloom {kind}`; README.md says what was measured of it."}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        **described,
        "conformsTo": VERSION,
        **({"license": license} if license else {}),
        "distribution": [*map(_describe_file, files), *_describe_file_set(folder, tables)],
        "recordSet": [{"@type": "cr:RecordSet", "@id": ROWS, "name": ROWS, "field": list(_describe_fields(schema))}]
        * bool(tables),
    }


def check_croissant(found: dict[str, Any]) -> None:
    """Raises `ShardloomError` if mlcroissant, which must be installed, finds a fault."""
    import mlcroissant

    try:
        mlcroissant.Dataset(jsonld=found)
    except mlcroissant.ValidationError as error:
        raise ShardloomError(f"the set cannot be described in Croissant: {to_one_line(error)}") from None


def _find_tables(files: Iterable[OutputFile]) -> tuple[str, list[str]]:
    """Returns the folder whose Parquet files hold the rows, with the paths of these: the indexes, where there are any.

    Parquet shards of training sets have their rows in them, and an index too.
    """
    paths = [out.path for out in files if out.path.endswith(".parquet")]
    data = [path for path in paths if path.startswith(f"{DATA}/")]
    return (DATA, data) if data else (INDEX, [path for path in paths if path.startswith(f"{INDEX}/")])


def _describe_file(out: OutputFile) -> dict[str, Any]:
    ending = out.path.rpartition(".")[2]
    return {
        "@type": "cr:FileObject",
        "@id": out.path,
        "name": out.path,
        "contentUrl": out.path,
        "contentSize": f"{out.size} B",
        "encodingFormat": _FORMATS.get(ending, "application/octet-stream"),
        "sha256": out.sha256,
    }


def _describe_file_set(folder: str, tables: list[str]) -> list[dict[str, Any]]:
    if not tables:
        return []
    names = {"@id": f"{ROWS}-files", "name": f"{ROWS}-files", "includes": f"{folder}/*.parquet"}
    return [{"@type": "cr:FileSet", "encodingFormat": _FORMATS["parquet"], **names}]


def _describe_fields(schema: pa.Schema) -> Iterable[dict[str, Any]]:
    for column in schema:
        if (field := _describe_column(column.name, column.type)) is not None:
            yield field


def _describe_column(name: str, kind: pa.DataType) -> dict[str, Any] | None:
    """Returns the field of a column, with one for each field of its structs; None for a type that Croissant lacks."""
    kind = decode_dictionary(kind)
    is_list, item = _unwrap_list(kind)
    head = {"@type": "cr:Field", "@id": f"{ROWS}/{quote(name, safe='')}", "name": name}
    if not pa.types.is_struct(item):
        found = _describe_type(kind)
        return None if found is None else head | found | {"source": _describe_source(name)}
    below = []
    for field in item:
        found = _describe_type(field.type, is_image=item == IMAGE and field.name == "bytes")
        if found is None:
            return None
        # mlcroissant reads the fields of a list of structs as one list each, by the older word
        repeated = {"repeated": True} if is_list else {}
        source = _describe_source(name) | {"transform": {"jsonPath": field.name}}
        below.append(
            {"@type": "cr:Field", "@id": f"{head['@id']}/{quote(field.name, safe='')}", "name": field.name}
            | found
            | repeated
            | {"source": source}
        )
    return head | ({"isArray": True, "arrayShape": "-1"} if is_list else {}) | {"subField": below}


def _describe_source(column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": f"{ROWS}-files"}, "extract": {"column": column}}


def _describe_type(kind: pa.DataType, *, is_image: bool = False) -> dict[str, Any] | None:
    """Returns the type of a value, or of a list of values; None for others."""
    is_list, item = _unwrap_list(decode_dictionary(kind))
    depth = 0
    while is_list:
        depth += 1
        is_list, inner = _unwrap_list(item)
        item = inner if is_list else item
    name = "sc:ImageObject" if is_image else _name_type(item)
    if name is None:
        return None
    shape = {"isArray": True, "arrayShape": ",".join(["-1"] * depth)} if depth else {}
    return {"dataType": name} | shape


def _unwrap_list(kind: pa.DataType) -> tuple[bool, pa.DataType]:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return True, decode_dictionary(kind.value_type)
    return False, kind


def _name_type(kind: pa.DataType) -> str | None:
    tests = {
        "sc:Text": lambda kind: kind in _TEXTS,
        "sc:Boolean": pa.types.is_boolean,
        "sc:Integer": pa.types.is_integer,
        "sc:Float": pa.types.is_floating,
        "sc:Date": pa.types.is_date,
        "sc:DateTime": pa.types.is_timestamp,
    }
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return "sc:Text"
    return next((name for name, test in tests.items() if test(kind)), None)


def _read_schema(output: Folder, path: str) -> pa.Schema:
    with output.open(path) as file:
        return read_parquet_schema(file, output.resolve_path(path))
