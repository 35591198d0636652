"""The samples of an image shard, each with its captions or the reason why it is left out."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from curation.decode import DecodeLimits, image_size
from pipelines.caption_set import CaptionRow, CaptionSet
from pipelines.inputs import InputShard
from schemas.datacomp import ImageSample, read_metadata, read_sample, uid_of
from schemas.quarantine import Reason, Rejected
from schemas.tar_reader import TarReader


@dataclass(frozen=True, slots=True)
class Joined:
    """An image with its captions."""

    shard: str
    image: ImageSample
    width: int
    height: int
    sha256: str
    captions: CaptionRow


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample without."""

    key: str
    uid: str | None
    fault: Rejected


class JoinedShard:
    """Iterates over the samples of a shard. After the iteration `reader` knows its size, hash and damage."""

    def __init__(self, shard: InputShard, captions: CaptionSet) -> None:
        self.shard, self.captions = shard, captions
        self.folder, self.file_name = shard.folder()
        self.reader: TarReader

    def __iter__(self) -> Iterator[Joined | LeftOut]:
        captions = self.captions.of_shard(self.shard.name, self._identities)
        with self.folder.open(self.file_name) as file:
            self.reader = TarReader(file)
            for sample in self.reader:
                try:
                    image = read_sample(sample)
                    yield self._joined(image, captions.get(image.uid or image.url or ""))
                except Rejected as fault:
                    yield LeftOut(sample.key, uid_of(sample), fault)

    def _joined(self, image: ImageSample, captions: CaptionRow | None) -> Joined:
        if captions is None:
            raise Rejected(Reason.NO_CAPTION, f"uid {image.uid}, url {image.url}")
        width, height = image_size(image.image.data, DecodeLimits())
        sha256 = hashlib.sha256(image.image.data).hexdigest()
        if self.captions.own and captions.sha256 not in (None, sha256):
            raise Rejected(Reason.MISALIGNED, f"captions of bytes {captions.sha256}, image of {sha256}")
        return Joined(self.shard.name, image, width, height, sha256, captions)

    def _identities(self) -> set[str]:
        """What the shard's images are looked up by."""
        identities = set()
        with self.folder.open(self.file_name) as file:
            for sample in TarReader(file, hashing=False):
                try:
                    metadata = read_metadata(sample)
                except Rejected:
                    continue
                identity = metadata.get("uid") or metadata.get("url")
                if isinstance(identity, str):
                    identities.add(identity)
        return identities
