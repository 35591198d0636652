"""Writes the dataset card of a finished set: finds its columns, and keeps a card that a person has edited."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.output.card_page import build_measured
from pipelines.output.scores import read_scores
from pipelines.recipes.download import DownloadRecipe
from schemas.log import LOG
from schemas.output_set.card import build_card, is_edited, read_card, read_metadata
from schemas.output_set.features import IMAGE, UnsupportedType, decode_dictionary, describe_columns
from schemas.output_set.layout import CARD, DATA, INDEX
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.records import captioned_image, document_storage
from schemas.storage.folder import Folder
from schemas.storage.parquet import iterate_batches, open_parquet, read_parquet_schema

_BY_REFERENCE = (
    "The images are not in `data/`: `index/` refers to their places in other tars. "
    "`shardloom shard --materialise` copies them.\n\n"
)
_TEXT_MEMBERS = {"json", "txt"}
_INDEX_COLUMNS = ["kind", "members.list.element.ending"]


def write_card(output: Folder, kind: str, manifests: Mapping[str, Manifest], license: str | None = None) -> None:
    """Writes the card of a set that a command of this kind has finished. The same set always gets the same bytes.

    `license` is that of the set; without it, the card keeps the one that it states. Keeps a card that a person has
    edited, and warns if that does not describe the data as it is now.
    """
    found = read_card(output)
    license = license or find_license(found)
    metadata, fault = build_metadata(output, kind, manifests)
    metadata = ({"license": license} if license else {}) | metadata
    is_by_reference = any(manifest.image_folders for manifest in manifests.values())
    recipe = read_stored_recipe(output)
    measured = build_measured(manifests, recipe, read_scores(output, manifests), license)
    card = build_card(metadata, build_page(kind, fault + (_BY_REFERENCE if is_by_reference else "")) + measured)
    if found is None or not is_edited(found):
        if found != card:
            output.write(CARD, card)
        return
    stored = read_metadata(found)
    if changed := [name for name in metadata if stored.get(name) != metadata[name]]:
        LOG.warning(
            f"{output.resolve_path(CARD)} was edited and is kept, but its {' and '.join(changed)} are not those of the "
            "set: remove it and run this again to see what a new card says"
        )


def find_license(card: bytes | None) -> str | None:
    """Returns the licence that a card states, or None."""
    license = None if card is None else read_metadata(card).get("license")
    return license if isinstance(license, str) else None


def build_metadata(output: Folder, kind: str, manifests: Mapping[str, Manifest]) -> tuple[dict[str, Any], str]:
    """Returns the card's front matter, and why it names no columns, if it does not."""
    pattern = f"{DATA}/*.tar" if kind == DownloadRecipe.kind else f"{DATA}/*"
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": pattern}]}]
    try:
        columns = describe_columns(find_columns(output, kind, manifests))
    except UnsupportedType as error:
        return {"configs": configs}, f"`datasets` cannot load this set: {error}.\n\n"
    features = {"dataset_info": {"features": columns}} if columns else {}
    return {"configs": configs} | features, ""


def build_page(kind: str, note: str) -> str:
    """Returns the first part of the card for people, with a note."""
    return (
        f"# Output of `shardloom {kind}`\n\n"
        "The rows are in `data/`; `quarantine/` has those that were left out, if any, with reasons. `recipe.yaml` says "
        "how the set was made, `manifests/` from what. `shardloom stats` counts the rows, `shardloom verify` checks "
        f"every byte.\n\n{note}"
        '```python\nfrom datasets import load_dataset\n\nrows = load_dataset("FOLDER", split="train")\n```\n\n'
    )


def find_columns(output: Folder, kind: str, manifests: Mapping[str, Manifest]) -> pa.Schema:
    """Returns all columns that `datasets` finds in the files of `data/`, with the union of their types."""
    paths = [out.path for manifest in manifests.values() for out in manifest.outputs]
    tables = [path for path in paths if path.startswith(f"{DATA}/") and path.endswith(".parquet")]
    columns = merge_schemas(output.map_files(lambda path: _read_schema(output, path), tables))
    if kind == DownloadRecipe.kind:  # the tables have a row for each .json
        return build_tar_schema({"jpg"} | _TEXT_MEMBERS, pa.struct(columns))
    if not any(path.startswith(f"{DATA}/") and path.endswith(".tar") for path in paths):
        return columns
    indexes = [path for path in paths if path.startswith(f"{INDEX}/")]
    kinds, endings = set[str](), set[str]()
    for found in output.map_files(lambda path: _read_kinds_and_endings(output, path), indexes):
        kinds |= found[0]
        endings |= found[1]
    types = [captioned_image.JSON_TYPE] if "captioned_image" in kinds else []
    types += [document_storage.JSON_TYPE] if kinds - {"captioned_image"} else []
    return build_tar_schema(endings, pa.struct(merge_schemas(pa.schema(list(each)) for each in types)))


def build_tar_schema(endings: set[str], json_type: pa.DataType) -> pa.Schema:
    """Returns the columns of tars whose members have these endings, as `datasets` calls and decodes them."""
    types = {"json": json_type, "txt": pa.string()}
    images = sorted(endings - _TEXT_MEMBERS, key=lambda ending: (len(ending.partition(".")[0]), ending))
    columns = [(name, IMAGE) for name in images] + [(name, types[name]) for name in sorted(endings & _TEXT_MEMBERS)]
    return pa.schema([*columns, ("__key__", pa.string()), ("__url__", pa.string())])


def merge_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """Returns the columns of all schemas, in the order in which they first occur.

    A column with several types gets one that can hold them all, if need be a string. Raises `UnsupportedType` if there
    is none.
    """
    types: dict[str, dict[pa.DataType, None]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, {})[decode_dictionary(field.type)] = None
    return pa.schema([(name, _merge_types(name, list(found))) for name, found in types.items()])


def _merge_types(name: str, types: list[pa.DataType]) -> pa.DataType:
    try:
        fields = [pa.schema([(name, kind)]) for kind in types]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except pa.ArrowTypeError:
        if any(pa.types.is_nested(kind) for kind in types):
            raise UnsupportedType(f"column {name} has the types {' and '.join(map(str, types))}") from None
        return pa.string()


def _read_schema(output: Folder, path: str) -> pa.Schema:
    with output.open(path) as file:
        return read_parquet_schema(file, output.resolve_path(path))


def _read_kinds_and_endings(output: Folder, path: str) -> tuple[set[str], set[str]]:
    """Returns the kinds of the samples in an index, and the endings of their members."""
    kinds, endings = set[str](), set[str]()
    with output.open(path) as file:
        for batch in iterate_batches(open_parquet(file, output.resolve_path(path)), columns=_INDEX_COLUMNS):
            kinds.update(pc.unique(batch["kind"]).to_pylist())
            members = batch["members"].flatten()
            endings.update(pc.unique(pc.struct_field(members, "ending")).to_pylist())
    return kinds, endings
