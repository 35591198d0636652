"""Small sets of training shards, written byte for byte: captioned images in tars or in Parquet, and their indexes."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.output_set.manifest import Manifest, OutputFile
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.output_set.shard_index import index_schema
from schemas.records.captioned_image import PARQUET_SCHEMA, CaptionedImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter


def make_fingerprint(name: str) -> EngineFingerprint:
    return EngineFingerprint(name=name, version="1", weights_sha256="0" * 64, settings={})


def make_image(key: str) -> CaptionedImage:
    """A captioned image of this key, whose bytes are no picture: readers of shards do not decode them."""
    data = f"image of {key}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    names = {"uid": f"uid {key}", "url": "", "source_shard": "0", "source_key": key}
    texts = {"alt_text": "alt", "text": f"text of {key}", "captions": "[]", "metadata": "{}"}
    return CaptionedImage(key=key, width=6, height=4, sha256=sha256, extension="jpg", image=data, **names, **texts)


def make_row(key: str, **changes: Any) -> dict[str, Any]:
    """The index row of such an image in a shard of Parquet."""
    details = [{"width": 6, "height": 4, "sha256": make_image(key).sha256}]
    places = dict.fromkeys(("offset", "size", "members", "tokens", "part_tokens", "roles"))
    known = {"key": key, "uid": None, "source": "made", "kind": "captioned_image", "images": 1, "characters": 7}
    return {**known, **places, "image_details": details, **changes}


def build_tar(keys: Sequence[str]) -> tuple[bytes, list[dict[str, Any]]]:
    """A shard of these images, and the rows of its index."""
    file, rows = io.BytesIO(), []
    writer = TarWriter(file)
    for key in keys:
        start = writer.size
        members = [
            {"ending": ending, "offset": writer.add(f"{key}.{ending}", data), "size": len(data)}
            for ending, data in make_image(key).to_members()
        ]
        rows.append(make_row(key, offset=start, size=writer.size - start, members=members))
    writer.close()
    return file.getvalue(), rows


def build_parquet(keys: Sequence[str], group: int) -> bytes:
    """A shard of these images in row groups of this many."""
    file = io.BytesIO()
    rows = [make_image(key).to_row() for key in keys]
    pq.write_table(pa.Table.from_pylist(rows, schema=PARQUET_SCHEMA), file, row_group_size=group)
    return file.getvalue()


def write_set(
    folder: Path | str,
    indexes: Mapping[str, Sequence[dict[str, Any]]],
    tokenizer: EngineFingerprint | None = None,
    kind: str = "ingest",
) -> str:
    """A finished set of shards with these index rows, by name, and without their data; its folder."""
    output = Folder(str(folder))
    output.make_folder()
    output.write(RECIPE_FILE, dump_yaml({"kind": kind}))
    for name, rows in indexes.items():
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=index_schema(tokenizer)), file)
        data = OutputFile(path=f"data/{name}.tar", rows=len(rows), size=1000, sha256="a" * 64)
        sha256 = hashlib.sha256(file.getvalue()).hexdigest()
        path = f"index/{name}.parquet"
        output.write(path, file.getvalue())
        index = OutputFile(path=path, rows=len(rows), size=len(file.getvalue()), sha256=sha256)
        manifest = Manifest.build(name, "0" * 64, inputs=[], rows_in=len(rows), data=data, others=[index])
        output.write(f"manifests/{name}.json", manifest.to_json())
    return str(folder)


def compute_revision(folder: str, names: Sequence[str]) -> tuple[int, str]:
    """The size of all outputs of these manifests, and a hash of their paths, sizes and hashes."""
    stored = [json.loads(Path(folder, "manifests", f"{name}.json").read_bytes()) for name in names]
    state = sorted([out["path"], out["size"], out["sha256"]] for one in stored for out in one["outputs"])
    return sum(size for _, size, _ in state), hashlib.sha256(json.dumps(state).encode()).hexdigest()
