"""Declares sets of captions: a question is an image, and its captions are the answers."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from curation.sources import coco, textcaps
from curation.sources.formats.fields import malformed_row_error
from curation.sources.formats.json_object import read_list
from curation.sources.formats.row_images import is_present
from curation.tasks.layouts.layout import Fields, Layout, Row
from schemas.records.quarantine import Reason, Rejected


def read_karpathy(row: Row) -> Iterator[Row]:
    """Yields a row of Karpathy's `dataset_coco.json` with the path of its image, `val2014/COCO_val2014_....jpg`."""
    if row.get("filename") is None or is_present(row.get("image")):
        yield row
        return
    yield {**row, "image": coco.name_image(row)}


def read_captioned_images(file: BinaryIO) -> Iterator[Any]:
    """Yields the images of a file in COCO's format, each with all its captions.

    The file is an object with `images`, `{"id", "file_name"}`, and `annotations`, `{"image_id", "caption"}`. A caption
    of an image that is not listed is rejected.
    """
    captions: dict[Any, list[Any]] = {}
    for number, one in enumerate(read_list("annotations")(file)):
        if isinstance(one, dict) and isinstance(one.get("image_id"), int | str):
            captions.setdefault(one["image_id"], []).append(one.get("caption"))
        else:
            yield malformed_row_error(f"annotation {number} names no image_id")
    file.seek(0)
    for image in read_list("images")(file):
        if isinstance(image, dict) and isinstance(image.get("id"), int | str):
            yield {"image_id": image["id"], **image, "captions": captions.pop(image["id"], [])}
        else:
            yield malformed_row_error("an image has no id")
    for name in captions:
        yield Rejected(Reason.MISSING_IMAGE, f"image {name} has captions, but is not listed")


def read_textcaps(file: BinaryIO) -> Iterator[Any]:
    """Yields the images of TextCaps' `data`, which has a row for each caption, each with all its captions."""
    images: dict[Any, dict[str, Any]] = {}
    for row in read_list(textcaps.LIST)(file):
        if not isinstance(row, dict) or not isinstance(row.get("image_id"), int | str):
            yield malformed_row_error("a caption names no image_id")
            continue
        kept = images.setdefault(row["image_id"], {"image_id": row["image_id"], "captions": []})
        kept["captions"].append(row.get("caption_str"))
    yield from images.values()


COCO = Layout(
    "coco",
    Fields(
        id=("cocoid", "question_id", "image_id", "index"), question=(), answers=("sentences", "answer"), category=()
    ),
    items={".json": read_list(coco.LIST)},
    prepare=read_karpathy,
    needs_question=False,
)

COCO_CAPTIONS = Layout(
    "coco_captions",  # NoCaps' `nocaps_val_4500_captions.json`, and COCO's own `captions_val2014.json`
    Fields(
        id=("image_id", "question_id", "index"),
        question=(),
        answers=("captions", "annotations_captions", "answer"),
        images=("image", "file_name"),
        category=("domain", "image_domain"),
    ),
    items={".json": read_captioned_images},
    needs_question=False,
)

TEXTCAPS = Layout(
    "textcaps",  # `TextCaps_0.1_val.json`
    Fields(
        id=("image_id", "question_id", "index"),
        question=(),
        answers=("captions", "reference_strs", "caption_str"),
        images=("image", "image_id"),
        image_name="{}" + textcaps.ENDING,
        category=(),
    ),
    items={".json": read_textcaps},
    needs_question=False,
)

LAYOUTS = (COCO, COCO_CAPTIONS, TEXTCAPS)
