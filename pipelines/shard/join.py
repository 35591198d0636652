"""The samples of an image shard, each with its captions or the reason why it is left out."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from curation.images.decode import DecodeLimits, image_size
from pipelines.inputs.shards import InputShard
from pipelines.shard.caption_set import CaptionRow, CaptionSet
from schemas.layouts.datacomp import ImageSample, read_metadata, read_sample, uid_of
from schemas.records.caption import Caption
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.reader import TarReader


@dataclass(frozen=True, slots=True)
class Joined:
    """An image with its captions, as they are stored and as they are read."""

    shard: str
    image: ImageSample
    width: int
    height: int
    sha256: str
    row: CaptionRow
    captions: list[Caption]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample without."""

    key: str
    uid: str | None
    fault: Rejected


class JoinedShard:
    """The samples of a shard. After an iteration `reader` knows the shard's size, hash and damage."""

    def __init__(self, shard: InputShard, captions: CaptionSet, is_own: bool) -> None:
        self.shard, self.captions, self.is_own = shard, captions, is_own
        self.folder, self.file_name = shard.folder()
        self.reader: TarReader

    def samples(self, start: int = 0, stop: int | None = None) -> Iterator[Joined | LeftOut]:
        """The samples at these places. The shard is read to its end all the same, for its hash."""
        captions = self.captions.of_shard(self.shard.name, self.is_own, self._identities)
        with self.folder.open(self.file_name) as file:
            self.reader = TarReader(file)
            for position, sample in enumerate(self.reader):
                if position < start or (stop is not None and position >= stop):
                    continue
                try:
                    image = read_sample(sample)
                    yield self._joined(image, captions.find(image.uid, image.url))
                except Rejected as fault:
                    yield LeftOut(sample.key, uid_of(sample), fault)

    def _joined(self, image: ImageSample, row: CaptionRow | None) -> Joined:
        if row is None:
            raise Rejected(Reason.NO_CAPTION, f"uid {image.uid}, url {image.url}")
        width, height = image_size(image.image.data, DecodeLimits())
        sha256 = hashlib.sha256(image.image.data).hexdigest()
        if self.captions.own and row.sha256 not in (None, sha256):
            raise Rejected(Reason.MISALIGNED, f"captions of bytes {row.sha256}, image of {sha256}")
        try:
            captions = self.captions.parse(row.captions)
        except ValueError as error:
            raise Rejected(Reason.NO_CAPTION, f"its captions can't be read: {error}") from None
        if (
            not self.captions.family.has_training_form
        ):  # training shards have one form for all families: the JSON of OCR captions
            row = replace(row, captions=json.dumps([asdict(caption) for caption in captions], ensure_ascii=False))
        return Joined(self.shard.name, image, width, height, sha256, row, captions)

    def _identities(self) -> set[str]:
        """What the shard's images are looked up by."""
        identities: set[str] = set()
        with self.folder.open(self.file_name) as file:
            for sample in TarReader(file, hashing=False):
                try:
                    metadata = read_metadata(sample)
                except Rejected:
                    continue
                values = (metadata.get("uid"), metadata.get("url"))
                identities |= {value for value in values if isinstance(value, str) and value}
        return identities
