"""The real sets: every planned sample reads as planned, and hardly a position stays empty."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from curation.documents.filters import DocumentFilters, build_captioned_image, filter_document
from curation.images.decode import DecodeLimits
from curation.sources import SOURCES, ReadOptions
from pipelines.ingest.stores.open import open_stores
from pipelines.ingest.stores.store import find_image
from pipelines.inputs.source_files import cut_file, iterate_items
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, ParsedCaptionedImage, ParsedImage
from schemas.records.quarantine import Rejected
from schemas.storage.path_patterns import list_matching
from tests.training.support.sets import plan, tokenizer, write_set
from training.batch import PADDING
from training.data.loader import PackLoader

COUNTS = {"obelics": 36, "mint-html": 36, "mint-pdf": 36, "mint-arxiv": 31, "datacomp": 222}
FILTERS, LIMITS = DocumentFilters(), DecodeLimits()


def records(data: Path, source: str) -> Iterator[CaptionedImage | Document]:
    """The samples of a set as `ingest` makes them."""
    folder = data / ("datacomp_small" if source == "datacomp" else f"interleaved/{source.replace('-', '_')}")
    stores = open_stores([str(folder / "url_map.json")] if (folder / "url_map.json").exists() else [])

    def looked_up(image: ParsedImage) -> ParsedImage:
        if not isinstance(image.source, str):
            return image
        try:
            return replace(image, source=find_image(stores, image.source))
        except Rejected as loss:
            return replace(image, source=loss)

    paths = list_matching(f"{folder}/*.{'parquet' if source in ('obelics', 'mint-html') else 'tar'}")
    stretches = [stretch for path in paths for stretch in cut_file(SOURCES.find(source), 1000, path)]
    items = (item.content for stretch in stretches for item in iterate_items(SOURCES.find(source), stretch))
    for number, item in enumerate(items):
        with contextlib.suppress(Rejected):
            if isinstance(item, Rejected):
                continue
            draft = SOURCES.find(source).read(item, ReadOptions())
            if isinstance(draft, ParsedCaptionedImage):
                image = looked_up(draft.image)
                yield build_captioned_image(replace(draft, image=image), f"{number:06d}", "0", "0", FILTERS, LIMITS)
            else:
                images = tuple(map(looked_up, draft.images))
                yield filter_document(replace(draft, images=images), f"{number:06d}", source, FILTERS, LIMITS).document


def test_every_sample_reads_as_planned(data: Path, tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    sources = {name: write_set(tmp_path / name, list(records(data, name)), words, shard=20) for name in COUNTS}
    made = plan(tmp_path, sources, sequence_length=8192, tiles_per_sequence=64)
    loader = PackLoader(made, global_batch_size=1)
    read: dict[str, set[str]] = {name: set() for name in COUNTS}
    filled = positions = 0
    for step in loader.iterate_steps():
        assert (step.bad_samples, step.left_out) == ([], {})
        batch = step.batches[0]
        filled, positions = filled + int((batch.segments != PADDING).sum()), positions + batch.tokens.numel()
        for name in batch.samples[0]:
            read[name.source].add(name.key)
    assert {name: len(keys) for name, keys in read.items()} == COUNTS
    assert 1 - filled / positions < 0.005
