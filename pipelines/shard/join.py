"""Joins a sample of an image shard with its captions, or says why it is left out."""

import hashlib
import json
from dataclasses import asdict, dataclass

from curation.captions.lookup import Found
from curation.images.decode import DecodeLimits, image_size
from pipelines.shard.caption_set import CaptionRow, Captions, CaptionSet
from schemas.layouts.datacomp import ImageSample, read_sample, uid_of
from schemas.records.caption import Caption
from schemas.records.identity import Identity
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import TarSample


@dataclass(frozen=True, slots=True)
class Matched:
    """Holds an image and its row of the caption set."""

    image: ImageSample
    width: int
    height: int
    sha256: str
    found: Found[CaptionRow]

    @property
    def row(self) -> CaptionRow:
        """The image's row of the caption set."""
        return self.found.row.value


@dataclass(frozen=True, slots=True)
class Joined:
    """Holds a matched image with its captions, both parsed and as the JSON that training shards store."""

    matched: Matched
    captions: list[Caption]
    captions_json: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Describes a sample without usable captions, and why."""

    key: str
    uid: str | None
    fault: Rejected


def match(sample: TarSample, shard: str, rows: Captions) -> Matched | LeftOut:
    """Looks up a sample of a shard in rows of the caption set, and checks that the row is of this image."""
    try:
        image = read_sample(sample)
        identity = identity_of(image, shard)
        found = rows.find(identity)
        if found is None:
            raise Rejected(Reason.NO_CAPTION, f"uid {image.uid}, url {image.url}")
        width, height = image_size(image.image.data, DecodeLimits())
    except Rejected as fault:
        return LeftOut(sample.key, uid_of(sample), fault)
    assert identity.sha256 is not None
    return Matched(image, width, height, identity.sha256, found)


def identity_of(image: ImageSample, shard: str) -> Identity:
    """Returns the identity of an image of a shard, with the SHA-256 of its bytes."""
    sha256 = hashlib.sha256(image.image.data).hexdigest()
    return Identity(shard, image.key, sha256, image.uid, image.url)


def join(found: Matched | LeftOut, captions: CaptionSet) -> Joined | LeftOut:
    """Parses the captions of a matched image."""
    if isinstance(found, LeftOut):
        return found
    text = found.row.captions
    assert isinstance(text, str), "`match` leaves out captions that are no text"
    try:
        parsed = captions.family.parse(text)
    except ValueError as error:
        fault = Rejected(Reason.NO_CAPTION, f"its captions can't be read: {error}")
        return LeftOut(found.image.key, found.image.uid, fault)
    if captions.family.has_training_form:
        return Joined(found, parsed, text)
    return Joined(found, parsed, json.dumps([asdict(caption) for caption in parsed], ensure_ascii=False))
