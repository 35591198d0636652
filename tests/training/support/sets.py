"""Sets of training shards made on the spot, as `ingest` writes them, and the plans of mixtures of them."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from curation.tokens import TokenCounter
from pipelines.output.training_shards import Sample, ShardWriter, make_sample, to_parquet_row
from pipelines.output.writer import commit
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import RECIPE_FILE, dump_yaml
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, DocumentImage, Role
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.training.support import tiny
from training.data.build import build_pack_plan
from training.data.options import DataOptions
from training.data.plan import PackPlan
from training.model.config import ModelOptions
from training.model.tokens import TextTokenizer, load_tokenizer

TILE, PATCH, TOKENS_PER_TILE = 56, 14, tiny.TOKENS_PER_TILE
Size = tuple[int, int]


def captioned(number: int, text: str, size: Size = (64, 48), **changes: Any) -> CaptionedImage:
    """A captioned image of this number."""
    image = jpeg(number, *size)
    known = {"key": f"c{number:06d}", "uid": "", "url": "", "source_shard": "0", "source_key": str(number)}
    more = {"alt_text": "", "captions": "[]", "metadata": "{}", "extension": "jpg"} | changes
    sha256 = hashlib.sha256(image).hexdigest()
    return CaptionedImage(**known, width=size[0], height=size[1], sha256=sha256, text=text, image=image, **more)


def document(
    number: int, parts: Sequence[str | Size], roles: Sequence[Role] | None = None, source: str = "docs"
) -> Document:
    """A document of texts and of images of these sizes."""
    images, ordered = [], []
    for place, part in enumerate(parts):
        if isinstance(part, str):
            ordered.append(part)
            continue
        data = jpeg(1000 * number + place, *part)
        ordered.append(len(images))
        images.append(DocumentImage(data, "jpg", *part, hashlib.sha256(data).hexdigest(), None, "{}"))
    told = None if roles is None else tuple(roles)
    return Document(f"d{number:06d}", None, source, None, tuple(ordered), tuple(images), "{}", told)


def with_new_key(sample: Sample, record: CaptionedImage | Document) -> Sample:
    """The sample as `mix` writes it: its members say what they said, under another name."""
    key = f"new-{sample.key}"
    return replace(
        sample, key=key, index={**sample.index, "key": key}, make_row=lambda: to_parquet_row(replace(record, key=key))
    )


def write_set(
    folder: Path,
    records: Sequence[CaptionedImage | Document],
    tokenizer: TokenCounter | None = None,
    form: Literal["webdataset", "parquet"] = "webdataset",
    shard: int = 4,
    renamed: bool = False,
) -> str:
    """A finished set of these records, so many a shard; its folder. `renamed`: under new keys, as `mix` writes them."""
    output = Folder(str(folder))
    output.make_folder()
    output.write(RECIPE_FILE, dump_yaml({"kind": "ingest"}))
    counted_by = None if tokenizer is None else tokenizer.fingerprint
    writer = ShardWriter(output, form, isinstance(records[0], CaptionedImage), counted_by)
    for number, first in enumerate(range(0, len(records), shard)):
        held = records[first : first + shard]
        samples = [make_sample(record, folder.name, tokenizer) for record in held]
        if renamed:
            samples = [with_new_key(one, record) for one, record in zip(samples, held, strict=True)]
        written = writer.write(f"{number:08d}", samples)
        commit(
            output,
            Manifest.build(
                f"{number:08d}",
                "0" * 64,
                inputs=[],
                rows_in=len(samples),
                data=written.data,
                others=[written.index],
            ),
        )
    return str(folder)


def tokenizer(folder: Path) -> tuple[TextTokenizer, ModelOptions]:
    """Of bytes, so that a text has as many tokens as letters; with a tiny model's options."""
    model = tiny.options(tiny.write_tokenizer(folder / "tokenizer"))
    return load_tokenizer(model), model


def plan(
    folder: Path,
    sources: dict[str, str],
    any_resolution: bool = False,
    model: dict[str, Any] | None = None,
    by_source: dict[str, Any] | None = None,
    tile: int = TILE,
    **options: Any,
) -> PackPlan:
    """The plan over these sets, weighted alike, in sequences of 64 unless the options say otherwise.

    `model` are changes of the tiny model's options, `by_source` the tilings of sources, and `tile` the side of a tile.
    """
    words, _ = tokenizer(folder)
    seeing = tiny.options(folder / "tokenizer", **({"any_resolution": {"enabled": any_resolution}} | (model or {})))
    given = {
        "weights": dict.fromkeys(sources, 1),
        "stop": "all_exhausted",
        "sequence_length": 64,
        "system_prompt": None,
    }
    asked = {"sources": sources, "cache": str(folder / "cache"), "any_resolution": by_source or {}} | given | options
    return build_pack_plan(DataOptions.model_validate(asked), seeing, words, tile, PATCH)


def mixed(folder: Path, words: TextTokenizer | None) -> dict[str, str]:
    """Three sources of 24 samples each: captions, documents and texts."""
    letters = itertools.cycle("abcdefghijklmnopqrstuvwxyz")
    captions = [captioned(n, next(letters) * (5 + n % 7)) for n in range(24)]
    docs = [document(n, [next(letters) * (3 + n % 11), (48, 64), f"{n} ends"]) for n in range(24)]
    texts = [document(100 + n, [next(letters) * (1 + 2 * n)]) for n in range(24)]
    return {
        "captions": write_set(folder / "captions", captions, words),
        "docs": write_set(folder / "docs", docs, words),
        "text": write_set(folder / "text", texts, words),
    }
