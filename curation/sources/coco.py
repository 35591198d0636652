"""Reads Karpathy's `dataset_coco.json`: an object whose `images` is a list of COCO 2014's pictures.

`{"filepath": "train2014", "filename": "COCO_train2014_000000057870.jpg", "cocoid", "imgid", "sentids", "split",
"sentences": [{"tokens", "raw", "imgid", "sentid"}, ...]}`. The image is `{filepath}/{filename}`. The splits `train` and
`restval` are for training; rows of `val` and `test`, which captions are evaluated on, are rejected.

An image has about five captions. The first one is taken, so that the set has an image once; all are in the metadata.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import dump_metadata, malformed_row_error, read_caption_text, read_optional_list
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.formats.question_answer import read_image_name, read_object
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

LIST = "images"
TRAINING = ("train", "restval")  # of `split`


def read(item: Any) -> ParsedCaptionedImage:
    """Returns the captioned image of one object. Raises `Rejected`."""
    row = read_object(item)
    if (split := row.get("split")) not in TRAINING:
        raise Rejected(Reason.OTHER_SPLIT, f"split is {str(split)[:50]!r}; {' and '.join(TRAINING)} are for training")
    captions = [_read_caption(one) for one in read_optional_list(row.get("sentences"), "sentences")]
    if not captions:
        raise Rejected(Reason.NO_CAPTION, "there is no sentence")
    image = read_image_name(name_image(row), "filename")
    about = {"captions": captions, "split": split}
    return ParsedCaptionedImage(
        to_uid(row.get("cocoid")) or None, None, image, captions[0], metadata=dump_metadata(about)
    )


def name_image(row: Mapping[str, Any]) -> str:
    """Returns the path of an image, which begins with the folder of its split. Raises `Rejected`."""
    folder, name = row.get("filepath"), row.get("filename")
    if not isinstance(name, str) or not isinstance(folder, str | None):
        raise malformed_row_error("filepath or filename is not a text")
    return f"{folder}/{name}" if folder and name else name


def _read_caption(sentence: Any) -> str:
    return read_caption_text(sentence.get("raw") if isinstance(sentence, Mapping) else sentence)


SOURCE = SourceReader(
    "coco",
    ignore_options(read),
    (".json",),
    is_captions=True,
    items=read_list(LIST),
    offsets=find_list_offsets(LIST),
)
