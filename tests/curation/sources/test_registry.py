"""The sources that ship, by the names that `ingest` takes."""

import pickle

import pytest
from ray import cloudpickle

from curation.sources import SOURCES, ReadOptions
from schemas.errors import UsageError


def test_the_sources_that_ship() -> None:
    assert list(SOURCES.shipped) == [
        *("mint-html", "mint-pdf", "mint-arxiv", "obelics", "kale", "cc3m", "cc12m", "sbu", "visual-genome"),
        *("coco", "textcaps", "datacomp", "blip3-ocr", "blip3-grounding"),
        *("llava", "sharegpt4v", "textvqa", "vizwiz", "vqav2", "okvqa", "ocr-vqa", "a-okvqa", "gqa"),
        *("docvqa", "chartqa", "dvqa", "ai2d", "clevr", "science-qa", "open-orca", "orca-math", "text"),
    ]
    captions = {
        *("kale", "cc3m", "cc12m", "sbu", "visual-genome", "coco", "textcaps"),
        *("datacomp", "blip3-ocr", "blip3-grounding"),
    }
    assert {name for name, source in SOURCES.shipped.items() if source.is_captions} == captions
    with pytest.raises(UsageError, match=r"^no source is named 'laion': use one of mint-html, mint-pdf, "):
        SOURCES.find("laion")


def test_a_source_travels_to_a_worker_without_a_registry() -> None:
    source = pickle.loads(cloudpickle.dumps(SOURCES.find("text")))  # noqa: S301
    assert source.name == "text"
    assert source.read('{"text": "said"}', ReadOptions()).parts == ("said",)
