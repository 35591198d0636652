"""Defines a captioned image as a training shard stores it: WebDataset members, or a row of Parquet (docs/design.md).

WebDataset: `{key}.jpg`, `{key}.json`, `{key}.txt`, in this order and always all three, because Hugging Face `datasets`
takes its features from the first samples. The values of the JSON have fixed types for the same reason: strings are
empty rather than null, and lists are stored as the JSON strings of the published caption layout.
Parquet: the image is the struct that `datasets` shows as a picture.
"""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_DETAILS = (
    *("key", "uid", "url", "source_shard", "source_key", "width", "height"),
    *("sha256", "alt_text", "captions", "metadata"),
)


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """Holds one sample.

    `text` is the text to train on; the other fields serve to choose another text and to trace the sample back.
    """

    key: str  # unique in the whole set
    uid: str
    url: str
    source_shard: str
    source_key: str
    width: int  # pixels, upright
    height: int
    sha256: str  # of `image`
    alt_text: str
    text: str
    captions: str  # JSON list of {text, granularity, include_datacomp_raw_cap}
    metadata: str  # JSON object with the annotations' entries
    extension: str  # of the image's file
    image: bytes

    def get_details(self) -> dict[str, Any]:
        """Returns all fields except the text and the image."""
        return {name: getattr(self, name) for name in _DETAILS}

    def to_members(self) -> list[tuple[str, bytes]]:
        """Returns the extension and the bytes of each member, in tar order."""
        details = json.dumps(self.get_details(), ensure_ascii=False).encode()
        return [(self.extension, self.image), ("json", details), ("txt", self.text.encode())]

    def to_row(self) -> dict[str, Any]:
        """Returns the sample's row in Parquet."""
        image = {"bytes": self.image, "path": f"{self.key}.{self.extension}"}
        return {"image": image, "text": self.text} | self.get_details()


JSON_TYPE = pa.struct([(name, pa.int32() if name in ("width", "height") else pa.string()) for name in _DETAILS])
"""The type of a tar's `.json` member."""

_STRINGS = ("text", "key", "uid", "url", "source_shard", "source_key", "sha256", "alt_text", "captions", "metadata")
_FEATURES = (
    {"image": {"_type": "Image"}}
    | {name: {"dtype": "string", "_type": "Value"} for name in _STRINGS}
    | {name: {"dtype": "int32", "_type": "Value"} for name in ("width", "height")}
)

PARQUET_SCHEMA = pa.schema(
    [
        # Never null. It is nullable because `datasets` otherwise finds this schema unequal to its own.
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *(pa.field(name, pa.string(), nullable=False) for name in _STRINGS),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
    ],
    metadata={b"huggingface": json.dumps({"info": {"features": _FEATURES}}).encode()},
)
"""The Parquet schema, with the metadata that makes `datasets` decode the image column."""
