"""Small tars for the tests, and what a reader makes of them."""

import io
import tarfile

from schemas.tar.reader import TarReader, TarSample

Contents = dict[str, dict[str, bytes]]


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT, mtime: float = 0) -> bytes:
    """A tar as Python's `tarfile` writes it: files with a body, and members that have none (links, directories)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mtime = len(member[1]), mtime
            tar.addfile(info, io.BytesIO(member[1]))
    return file.getvalue()


def files(*keys: str, endings: tuple[str, ...] = ("jpg", "json", "txt")) -> list[tuple[str, bytes]]:
    """Members of one sample a key; no two bodies are the same."""
    return [(f"{key}.{ending}", f"{ending} of {key} ".encode() * 20) for key in keys for ending in endings]


def special(name: str, kind: bytes, size: int = 0) -> tarfile.TarInfo:
    """A member that is not a file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, "/etc/passwd", size
    return info


def read(data: bytes) -> tuple[TarReader, list[TarSample]]:
    """The reader after its work, and the samples."""
    reader = TarReader(io.BytesIO(data))
    return reader, list(reader)


def contents(samples: list[TarSample]) -> Contents:
    """Key → extension → bytes of the samples that have no fault."""
    return {
        sample.key: {extension: member.data for extension, member in sample.members.items()}
        for sample in samples
        if sample.fault is None
    }


def with_sum(header: bytes) -> bytes:
    """The header with its sum made right again."""
    total = sum(header[:148]) + sum(header[156:]) + 256
    return header[:148] + b"%06o\0 " % total + header[156:]
