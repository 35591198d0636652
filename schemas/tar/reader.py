"""Reads WebDataset tars strictly, as a stream.

Python's `tarfile` stops without an error at an invalid header and reads past a truncated end, so that a shard that lost
half of its samples looks like a short one. This reader verifies every header's checksum, the end marker and the byte
count, resynchronises at the next valid header after damage, and reports what it skipped. It marks a sample that may
have lost a member there, and no other. It never follows a member's path: links, devices and names that leave their
folder mark their own sample and nothing else.

Grouping follows webdataset: a sample is a run of adjacent members with the same path up to the first dot of the
basename; the rest of the name is the extension (reference: webdataset `tariterators.base_plus_ext`). A member without a
dot, which webdataset skips, is a sample of its own, so that it is counted when it is left out. The first run of a key
is kept; a later run, or a repeated extension, is marked. Where a later run has what the first one lacks, the tar counts
as damaged: it was not packed sample by sample, so that the first run is incomplete. Hidden files (`._0.jpg`, where
macOS stores a file's attributes, `.DS_Store`, everything below `__MACOSX/` or `.git/`) belong to other programs and not
to the data: they are counted and do not split a sample.
"""

import sys
from collections.abc import Iterator
from typing import BinaryIO

from schemas.compression import detect_compression
from schemas.hidden_files import is_hidden_path
from schemas.records.quarantine import Reason, Rejected
from schemas.tar import header
from schemas.tar.header import BLOCK, RECORD, Header
from schemas.tar.sample import Damage, Gap, Member, TarSample
from schemas.tar.stream import TarStream

__all__ = ["Damage", "Member", "TarReader", "TarSample"]

MAX_DAMAGE = 1000  # entries, so that a hostile file cannot fill the memory
SALVAGE_BYTES = 8 * BLOCK  # bytes after a damaged header that are searched for a long name
NOT_ADJACENT = "not adjacent: sort it by name, as `tar --sort=name` packs it"

_ZEROS = bytes(BLOCK)


class TarReader:
    """Iterates over the samples of one tar.

    After the iteration `damage`, `hidden_files`, `size` and `sha256` are final.
    """

    def __init__(self, file: BinaryIO, hashing: bool = True, start: int = 0) -> None:
        """Reads the file, whose first byte counts as byte `start`: it may be a slice of another tar."""
        self.damage: list[Damage] = []
        self.hidden_files = 0  # number of hidden files skipped
        self._stream = TarStream(file, hashing, start)

    @property
    def size(self) -> int:
        """Returns the position of the next byte: the file's size after the iteration."""
        return self._stream.position

    @property
    def sha256(self) -> str:
        """Returns the file's hash in hexadecimal. Valid only after the iteration; empty without `hashing`."""
        return self._stream.compute_sha256()

    def __iter__(self) -> Iterator[TarSample]:
        gap: Gap | None = None
        held: TarSample | None = None  # the sample before a gap; judged when the one after it is known
        usual: frozenset[str] = frozenset()
        for sample, behind in self._group_members():
            if gap is not None:
                gap.mark_incomplete_neighbours(held, sample, usual)
                if held is not None:
                    yield held
            if behind is None and sample is not None:
                usual = frozenset(sample.members)
                yield sample
            gap, held = behind, sample
        if gap is not None:
            gap.mark_incomplete_neighbours(held, None, usual)
            if held is not None:
                yield held

    def _group_members(self) -> Iterator[tuple[TarSample | None, Gap | None]]:
        """Yields the samples, each with the gap that follows it, if any."""
        sample: TarSample | None = None
        gap: Gap | None = None
        seen: dict[str, str] = {}  # the extensions of each key so far, joined by slashes: most samples share the string
        scattered: dict[str, int] = {}  # keys of samples whose members are not adjacent -> byte of the first later run
        for start, found in self._read_members():
            if isinstance(found, Gap):
                gap = found if gap is None else gap + found
                continue
            name, member = found
            if is_hidden_path(name):
                self.hidden_files += 1
                continue
            key, extension = split_name(name)
            if sample is None or key != sample.key or extension in sample.members:
                if sample is not None:
                    seen[sample.key] = sys.intern("/".join([*sample.members, *filter(None, [seen.get(sample.key)])]))
                if sample is not None or gap is not None:
                    yield sample, gap
                sample = TarSample(key, start)
                if (before := seen.get(key)) is not None:
                    is_scattered = extension not in before.split("/")
                    more = f", and its members are {NOT_ADJACENT}" if is_scattered else ""
                    sample.mark_faulty(Reason.DUPLICATE_KEY, f"key {key!r} came before in this shard{more}")
                    if is_scattered:
                        scattered.setdefault(key, start)
            elif gap is not None:
                sample.mark_faulty(Reason.INCOMPLETE, f"the tar is damaged inside it, at byte {gap.offset}")
            gap = None
            if isinstance(member, Rejected):
                sample.mark_faulty(member.reason, member.detail)
            else:
                sample.members[extension] = member
        if scattered:
            key, start = next(iter(scattered.items()))
            what = f"the members of {len(scattered):,} samples, such as {key!r}, are {NOT_ADJACENT}"
            self._record_damage(start, what)
        if sample is not None or gap is not None:
            yield sample, gap

    def _read_members(self) -> Iterator[tuple[int, tuple[str, Member | Rejected] | Gap]]:
        """Yields the header's offset, the name and the member (or its fault) of each member, and the gaps between."""
        stream = self._stream
        fields: dict[str, bytes] = {}  # of the extended headers before the member
        is_unnamed = False  # one of them is malformed, and the name in the member's own header may be a wrong one
        while len(block := stream.read(BLOCK)) == BLOCK:
            start = stream.position - BLOCK
            gap: Gap | None = None
            info = header.parse_header(block, fields)
            if info is None:
                if block == _ZEROS:
                    gap, fields = self._pass_zeros(start, fields), {}
                else:
                    gap, fields = self._resynchronise(start, block, fields)
                is_unnamed = False
                if gap is not None:
                    yield start, gap
                if not stream.peek(1):
                    return
                continue
            if info.kind == header.SPARSE:
                self._pass_sparse_map(block)
            offset = stream.position
            data = stream.read(info.size)
            if info.kind in header.EXTENDED:
                more = self._read_extended_header(start, info, data)
                if more is None:
                    yield start, Gap(start)
                is_unnamed = is_unnamed or more is None
                fields = fields | more if more is not None else {}
            else:
                if info.kind != header.DIRECTORY and not is_unnamed:
                    yield start, (info.name, _check_member(info, fields, Member(info.name, offset, data)))
                fields, is_unnamed = {}, False
            if len(data) < info.size or not stream.skip(-info.size % BLOCK):
                self._record_damage(stream.position, f"the tar ends inside the member at byte {start}")
                break
        else:
            packed = detect_compression(block) if stream.position == len(block) else None
            what = f"compressed by {packed} (decompress it first)" if packed else "the tar ends without an end marker"
            self._record_damage(stream.position - len(block), what)
            fields.setdefault("path", header.read_raw_name(block))
        yield stream.position, Gap(stream.position, tuple(filter(None, [fields.get("path")])), is_end=True)

    def _pass_zeros(self, start: int, fields: dict[str, bytes]) -> Gap | None:
        """Reads on after the first zero block.

        Returns None if a second zero block follows, and then only zeros or a second tar; otherwise a gap.
        """
        zeros = 1
        while (block := self._stream.read(BLOCK)) == _ZEROS:
            zeros += 1
        if fields:
            self._record_damage(start, "an extended header without a member")
        if not block.strip(b"\0"):
            if zeros == 1:
                self._record_damage(start, "half an end marker")
            return Gap(start, is_end=True) if zeros == 1 or fields else None
        self._stream.unread(block)
        self._record_damage(start, "data after the end marker (two tars in one file?)")
        # A second tar begins at a full record. Anywhere else, zeros may have overwritten members.
        if zeros > 1 and self._stream.position % RECORD == 0 and header.parse_header(block) and not fields:
            return None
        return Gap(start, is_end=zeros > 1)

    def _resynchronise(self, start: int, block: bytes, fields: dict[str, bytes]) -> tuple[Gap | None, dict[str, bytes]]:
        """Skips bytes up to the next valid header. Returns the gap, and the fields for the next member."""
        stream = self._stream
        behind = stream.peek(SALVAGE_BYTES)
        stream.unread(block)
        stream.read(1)
        names = [fields.get("path") or header.read_raw_name(block)]
        # The magic is required: a member's data may hold anything, and the checksum alone is a weak test.
        while len(found := stream.skip_to_magic()) == BLOCK and header.parse_header(found) is None:
            names[1:] = [header.read_raw_name(found)]
            stream.read(1)
        if len(found) < BLOCK:
            stream.read(BLOCK)
        what = f"no sound header in {stream.position - start} bytes"
        if start == 0:
            packed = detect_compression(block)
            is_none = ": not a tar" if len(found) < BLOCK else ""
            what += f": compressed by {packed} (decompress it first)" if packed else is_none
        self._record_damage(start, what)
        if not header.is_like_header(block):
            return Gap(start), {}
        if len(names) == 1 and len(found) == BLOCK:
            salvaged = header.salvage_fields(block, behind)
            if salvaged is not None or (block[156:157] == header.DIRECTORY and names[0].endswith(b"/")):
                return None, salvaged or {}
        return Gap(start, tuple(names)), {}

    def _pass_sparse_map(self, block: bytes) -> None:
        """Skips the blocks of a GNU sparse file's map between its header and its data."""
        is_more = block[482] > 0
        while is_more and len(block := self._stream.read(BLOCK)) == BLOCK:
            is_more = block[504] > 0

    def _read_extended_header(self, start: int, info: Header, data: bytes) -> dict[str, bytes] | None:
        fields = header.parse_extended_header(info.kind, data) if len(data) <= header.MAX_EXTENDED_HEADER else None
        if fields is None and len(data) == info.size:
            self._record_damage(start, "an extended header that makes no sense")
        return fields if len(data) == info.size else None

    def _record_damage(self, offset: int, what: str) -> None:
        if len(self.damage) < MAX_DAMAGE:
            self.damage.append(Damage(offset, what))


def split_name(name: str) -> tuple[str, str]:
    """Returns the key and the lower-case extension of a member's name.

    A name without a stem or a dot is a key by itself.
    """
    stem, dot, extension = name[name.rfind("/") + 1 :].partition(".")
    return (name[: len(name) - len(extension) - 1], extension.lower()) if stem and dot else (name, "")


def _check_member(info: Header, fields: dict[str, bytes], member: Member) -> Member | Rejected:
    name = info.name
    if len(member.data) < info.size:
        return Rejected(Reason.INCOMPLETE, f"the tar ends {len(member.data)} bytes into {name!r}")
    if info.kind == header.SPARSE or (fields and any(field.startswith("GNU.sparse") for field in fields)):
        return Rejected(Reason.UNSAFE_MEMBER, f"{name!r} is a sparse file")
    if info.kind not in header.REGULAR:
        return Rejected(Reason.UNSAFE_MEMBER, f"{name!r} is a link or a device")
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        return Rejected(Reason.UNSAFE_MEMBER, f"{name!r} leaves its folder")
    return member
