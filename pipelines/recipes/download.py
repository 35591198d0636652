"""Defines the options for downloading images by their URLs."""

import re
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator

from pipelines.recipes.base import Recipe, RunOptions
from pipelines.recipes.rows import ChosenRows
from schemas.output_set.options import Globs, Options


class ImageOptions(Options):
    """Sets how downloaded images are stored. Size and quality are those of DataComp."""

    urls_per_shard: int = Field(
        10_000, gt=0, le=1_000_000, description="URLs in a shard, which is also the unit of work"
    )
    image_size: PositiveInt = Field(512, description="pixels of the longer side; larger images are scaled down")
    encode_quality: int = Field(95, ge=1, le=100, description="JPEG quality; img2dataset's default")
    max_bytes: int = Field(50_000_000, gt=0, lt=1 << 31, description="bytes of one response, which is kept in memory")
    max_pixels: int = Field(
        64_000_000, gt=0, description="pixels of one image before scaling: a decompression bomb is a small file"
    )


class DownloadLimits(Options):
    """Sets which hosts may be contacted, and for how long."""

    allow_hosts: list[str] = Field(
        [], description="names of hosts that may be contacted although they are on this machine or a private network"
    )
    retries: int = Field(2, ge=0, le=10, description="retries of each URL")
    timeout: float = Field(10.0, gt=0, description="seconds without a byte from the host")
    answer_seconds: float = Field(
        60.0, gt=0, description="seconds for one response, since some hosts send a byte now and then"
    )
    deadline_seconds: float = Field(
        1800.0, gt=0, description="seconds for one shard, since its last 1 % can take longer than all the rest"
    )

    @field_validator("allow_hosts")
    @classmethod
    def _check_hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not host or "/" in host or re.fullmatch(r"[^:]*:\d*|\[.*\]:\d*", host):
                raise ValueError(f"{host!r} is not a host name: leave out scheme, port and path")
        return hosts


class DownloadOptions(DownloadLimits, ImageOptions):
    """Sets how images are downloaded by their URLs: all options of both groups."""

    by: Literal["img2dataset"] = "img2dataset"


class DownloadRun(DownloadLimits, RunOptions):
    """Sets how a download is carried out. Limits and retries are here, since the web's responses vary anyway."""

    threads: int = Field(
        64, gt=0, le=1024, description="concurrent connections of each worker; at most half of them to one host"
    )
    min_success: float = Field(
        0.0, ge=0, le=1, description="share of all images; with fewer the run fails, but keeps what it has"
    )


class DownloadRecipe(ChosenRows, ImageOptions, Recipe):
    """Describes a download of the images of DataComp metadata."""

    kind: ClassVar[str] = "download"
    input: Globs = Field(
        min_length=1,
        description="globs of Parquet files with `url`, and optionally `text`, `uid`, `face_bboxes`, `sha256`",
    )
    blur_faces: bool = Field(True, description="blur the boxes of `face_bboxes`, if that column exists")
    verify_hash: bool = Field(
        False, description="leave out images whose hash is not `sha256`: some 14 % of DataComp's, mostly re-encoded"
    )
    run: DownloadRun = DownloadRun()

    def build_options(self) -> DownloadOptions:
        """Returns the options for downloading one shard."""
        images = self.model_dump(include=set(ImageOptions.model_fields))
        return DownloadOptions(**images, **self.run.model_dump(include=set(DownloadLimits.model_fields)))
