"""Strict streaming reader of WebDataset tars.

Python's `tarfile` stops without an error at a header that makes no sense and reads on over a cut end; a shard that lost
half of its samples then looks like a short one. This reader checks every header's sum, the end marker and the byte
count, goes on after a damaged stretch at the next sound header, and says what it passed over. It never follows a
member's path: links, devices and names that leave their folder spoil their sample and nothing else.

Grouping follows webdataset: a sample is a run of adjacent members that share the path up to the first dot of the
basename; the rest of the name is the extension (reference: webdataset `tariterators.base_plus_ext`).
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from schemas.quarantine import Reason, Rejected

BLOCK = 512
READ_BYTES = 8 << 20  # one large range a request: what object stores serve best
MAX_EXTENDED_HEADER = 1 << 20  # a long name or a pax header of more than 1 MiB is hostile
MAX_MEMBER = 1 << 30  # a header that promises more than 1 GiB for one file of a sample is taken for a damaged one

_NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$", re.DOTALL)
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar: where its bytes lie, and the bytes."""

    name: str
    offset: int
    data: bytes


@dataclass(slots=True)
class TarSample:
    """Adjacent members with one key. `fault` says why it can't be used, if it can't."""

    key: str
    start: int  # byte offset of the first member's header
    members: dict[str, Member] = field(default_factory=dict)  # by lower-case extension
    fault: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a tar that makes no sense, or an end that comes early."""

    offset: int
    what: str


class _Stream:
    """Sequential reads of any length over large reads of the file, hashing all bytes that pass."""

    def __init__(self, file: BinaryIO, hashing: bool) -> None:
        self.file = file
        self.position = 0
        self.digest = hashlib.sha256() if hashing else None
        self._buffer = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end of the file."""
        if size <= len(self._buffer):
            piece, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        else:
            pieces = [self._buffer]
            missing = size - len(self._buffer)
            while missing > 0 and (fresh := self.file.read(READ_BYTES)):
                if self.digest is not None:
                    self.digest.update(fresh)
                view = memoryview(fresh)
                pieces.append(view[:missing])
                self._buffer = view[missing:]
                missing -= len(pieces[-1])
            if missing > 0:
                self._buffer = memoryview(b"")
            piece = b"".join(pieces)
        self.position += len(piece)
        return piece


class TarReader:
    """Iterates over the samples of one tar. After the iteration `damage`, `size` and `sha256` are known."""

    def __init__(self, file: BinaryIO, hashing: bool = True) -> None:
        self.damage: list[Damage] = []
        self._stream = _Stream(file, hashing)

    @property
    def size(self) -> int:
        """Bytes read so far; the file's size after the iteration."""
        return self._stream.position

    @property
    def sha256(self) -> str:
        """Hash of the whole file, as `sha256sum` prints it; only after the iteration, and only when hashing."""
        return self._stream.digest.hexdigest() if self._stream.digest is not None else ""

    def __iter__(self) -> Iterator[TarSample]:
        sample: TarSample | None = None
        seen: set[str] = set()
        for start, name, member in self._members():
            match = _NAME.match(name)
            key, extension = (match[1], match[2].lower()) if match else (name, "")
            if sample is None or key != sample.key or extension in sample.members:
                if sample is not None:
                    yield sample
                repeated = key in seen
                sample = TarSample(key, start)
                seen.add(key)
                if repeated:
                    sample.fault = Rejected(Reason.DUPLICATE_KEY, f"key {key!r} came before in this shard")
            if isinstance(member, Rejected):
                sample.fault = sample.fault or member
            else:
                sample.members[extension] = member
        if sample is not None:
            yield sample

    def _members(self) -> Iterator[tuple[int, str, Member | Rejected]]:
        """(offset of the header, name, the member or what is wrong with it), to the end of the file."""
        stream = self._stream
        pax: dict[str, str] = {}
        while True:
            start = stream.position
            header = stream.read(BLOCK)
            if header == _ZEROS:
                self._check_end(start)
                return
            if len(header) < BLOCK:
                self.damage.append(Damage(start, "the tar ends without an end marker"))
                return
            info = _parse(header)
            if info is None:
                info = self._resynchronise(start)
                if info is None:
                    return
                pax, start = {}, stream.position - BLOCK
            size = min(int(pax["size"]), MAX_MEMBER) if pax.get("size", "").isdecimal() else info.size
            data_offset = stream.position
            data = stream.read(size)
            complete = len(data) == size
            complete = complete and len(stream.read(-size % BLOCK)) == -size % BLOCK
            if info.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
                if complete:
                    pax |= _extended(info.type, data)
                    continue
            elif info.type != tarfile.DIRTYPE:
                name = pax.get("path", info.name)
                pax = {}
                yield start, name, _judge(name, info, Member(name, data_offset, data), complete)
            if not complete:
                self.damage.append(Damage(stream.position, f"the tar ends inside the member at byte {start}"))
                return

    def _check_end(self, start: int) -> None:
        """After the first zero block: a second one, and nothing but zeros up to the end of the file."""
        second = self._stream.read(BLOCK)
        if second != _ZEROS:
            self.damage.append(Damage(start, "half an end marker"))
        while data := self._stream.read(READ_BYTES):
            if data.count(0) != len(data):
                self.damage.append(Damage(start, "data after the end marker (two tars in one file?)"))
                while self._stream.read(READ_BYTES):
                    pass

    def _resynchronise(self, start: int) -> tarfile.TarInfo | None:
        """Passes over blocks that are no header, up to the next sound one."""
        found = None
        while found is None and len(block := self._stream.read(BLOCK)) == BLOCK:
            # Only with the magic: the body of a member may hold anything, and the sum alone is a weak check.
            found = _parse(block) if block[257:262] == b"ustar" else None
        skipped = self._stream.position - start - (BLOCK if found else 0)
        what = f"no sound header in {skipped} bytes"
        if start == 0:
            what += ": not a tar, or a compressed one (decompress it first)"
        self.damage.append(Damage(start, what))
        return found


def _parse(header: bytes) -> tarfile.TarInfo | None:
    """The header's fields, or None when its sum or its numbers are wrong."""
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "replace")  # keys go into Arrow strings
    except (tarfile.HeaderError, ValueError):
        return None
    return info if 0 <= info.size <= MAX_MEMBER else None


def _extended(kind: bytes, data: bytes) -> dict[str, str]:
    """What a GNU long name or a pax header says of the member that follows; global pax headers say nothing of names."""
    if len(data) > MAX_EXTENDED_HEADER:
        return {}
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "replace")}
    if kind != tarfile.XHDTYPE:
        return {}
    fields = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            break
        keyword, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        fields[keyword.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return fields


def _judge(name: str, info: tarfile.TarInfo, member: Member, complete: bool) -> Member | Rejected:
    if not complete:
        return Rejected(Reason.INCOMPLETE, f"the tar ends {len(member.data)} bytes into {name!r}")
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return Rejected(Reason.UNSAFE_MEMBER, f"{name!r} is a link or a device")
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        return Rejected(Reason.UNSAFE_MEMBER, f"{name!r} leaves its folder")
    return member
