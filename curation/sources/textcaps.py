"""Reads TextCaps' `TextCaps_0.1_train.json`: an object whose `data` is a list with an entry for each caption.

`{"image_id", "caption_id", "caption_str", "caption_tokens", "reference_strs", "reference_tokens", "image_classes",
"flickr_300k_url", "image_width", "image_height", "set_name"}`. The image is `{image_id}.jpg` in TextVQA's
`train_images`, which also has those of `val`. Each of an image's five captions is a sample; `reference_strs`, which has
all of them in each entry, is left out.
"""

from typing import Any

from curation.sources.formats.fields import dump_metadata, read_caption_text, select_other_fields
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.formats.question_answer import read_image_name, read_object
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedCaptionedImage
from schemas.records.uid import to_uid

LIST = "data"
ENDING = ".jpg"

_LEFT_OUT = ("caption_id", "caption_str", "caption_tokens", "reference_strs", "reference_tokens", "question")


def read(item: Any) -> ParsedCaptionedImage:
    """Returns the captioned image of one caption. Raises `Rejected`."""
    row = read_object(item)
    image = read_image_name(row.get("image_id"), "image_id", ENDING)
    text = read_caption_text(row.get("caption_str"))
    about = dump_metadata(select_other_fields(row, _LEFT_OUT))
    return ParsedCaptionedImage(to_uid(row.get("caption_id")) or None, None, image, text, metadata=about)


SOURCE = SourceReader(
    "textcaps",
    ignore_options(read),
    (".json",),
    is_captions=True,
    items=read_list(LIST),
    offsets=find_list_offsets(LIST),
)
