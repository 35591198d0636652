"""Patches img2dataset where one file or one host could cost a whole shard; imported by the `runner.py` program.

All patches are in this file. They fit the one version that `environments/img2dataset.txt` pins.
"""

import tarfile
from types import SimpleNamespace
from typing import Any

from decoding import Decoder  # type: ignore[import-not-found]  # beside this file, as the next
from host_pool import HostPool  # type: ignore[import-not-found]


class UnboundedSemaphore:
    """Replaces the semaphore that bounds img2dataset's read-ahead, since `HostPool` must see all hosts at once."""

    def __init__(self, _: int) -> None:
        pass

    def acquire(self) -> None:
        """Does nothing."""

    def release(self) -> None:
        """Does nothing."""


def adapt_img2dataset(deadline: float, image_seconds: int, options: dict[str, Any]) -> None:
    """Makes img2dataset's downloader fair to hosts, bounded in time, and safe from files that crash a decoder.

    `deadline` is in seconds since 1970; `image_seconds` is the CPU time to decode one image.
    """
    # only in img2dataset's environment
    from img2dataset import downloader, resizer, writer  # type: ignore[import-not-found]

    decoder = Decoder(image_seconds, options)

    def resize(_: Any, img_stream: Any, blurring_bbox_list: Any = None) -> tuple[Any, ...]:
        img_stream.seek(0)
        return decoder.resize(img_stream.read(), blurring_bbox_list)  # type: ignore[no-any-return]

    resizer.Resizer.__call__ = resize
    downloader.exifread = SimpleNamespace(process_file=lambda *_, **__: decoder.read_exif())
    downloader.ThreadPool = lambda threads: HostPool(threads, deadline)
    downloader.Semaphore = UnboundedSemaphore
    write_through(writer.WebDatasetSampleWriter)


def write_through(writer: Any) -> None:
    """Patches a writer class to flush after each sample, so that the samples of a killed process survive in the tar."""
    begin, write = writer.__init__, writer.write

    def begin_tar(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self.tarwriter.tarstream = tarfile.open(  # noqa: SIM115  the writer closes it
            fileobj=self.tar_fd, mode="w", format=tarfile.USTAR_FORMAT
        )

    def write_sample(self: Any, *arguments: Any, **options: Any) -> None:
        write(self, *arguments, **options)
        self.tar_fd.flush()

    writer.__init__, writer.write = begin_tar, write_sample
