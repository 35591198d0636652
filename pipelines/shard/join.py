"""Joins a sample of an image shard with its captions, or says why it is left out."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from curation.captions.lookup import Match
from curation.images.decode import DecodeLimits, read_image_size
from pipelines.shard.caption_set import CaptionLookup, CaptionRow, CaptionSet
from schemas.layouts.datacomp import ImageSample, read_sample, read_uid
from schemas.records.caption import Caption
from schemas.records.identity import Identity
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import TarSample

# a text of the captions' JSON that begins with a byte order mark, which parsing removes
_MARKED = re.compile(r'"(?:\ufeff|\\ufeff)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MatchedSample:
    """Holds an image and its row of the caption set."""

    image: ImageSample
    width: int
    height: int
    sha256: str
    found: Match[CaptionRow]

    @property
    def row(self) -> CaptionRow:
        """The image's row of the caption set."""
        return self.found.row.value


@dataclass(frozen=True, slots=True)
class JoinedSample:
    """Holds a matched image with its captions, both parsed and as the JSON that training shards store."""

    matched: MatchedSample
    captions: list[Caption]
    captions_json: str


@dataclass(frozen=True, slots=True)
class QuarantinedSample:
    """Describes a sample without usable captions, and why."""

    key: str
    uid: str | None
    fault: Rejected


def match_captions(sample: TarSample, shard: str, rows: CaptionLookup) -> MatchedSample | QuarantinedSample:
    """Looks up a sample of a shard in rows of the caption set, and checks that the row is of this image."""
    try:
        image = read_sample(sample)
        identity = compute_identity(image, shard)
        found = rows.find(identity)
        if found is None:
            raise Rejected(Reason.NO_CAPTION, f"uid {image.uid}, url {image.url}")
        width, height = read_image_size(image.image.data, DecodeLimits())
    except Rejected as fault:
        return QuarantinedSample(sample.key, read_uid(sample), fault)
    assert identity.sha256 is not None
    return MatchedSample(image, width, height, identity.sha256, found)


def compute_identity(image: ImageSample, shard: str) -> Identity:
    """Returns the identity of an image of a shard, with the SHA-256 of its bytes."""
    sha256 = hashlib.sha256(image.image.data).hexdigest()
    return Identity(shard, image.key, sha256, image.uid, image.url)


def join_captions(found: MatchedSample | QuarantinedSample, captions: CaptionSet) -> JoinedSample | QuarantinedSample:
    """Parses the captions of a matched image."""
    if isinstance(found, QuarantinedSample):
        return found
    text = found.row.captions
    assert isinstance(text, str), "`match` leaves out captions that are not text"
    try:
        parsed = captions.family.parse(text)
    except ValueError as error:
        fault = Rejected(Reason.NO_CAPTION, f"its captions can't be read: {error}")
        return QuarantinedSample(found.image.key, found.image.uid, fault)
    if captions.family.has_training_form and not _MARKED.search(text):
        return JoinedSample(found, parsed, text)
    return JoinedSample(found, parsed, json.dumps([asdict(caption) for caption in parsed], ensure_ascii=False))
