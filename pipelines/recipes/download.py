"""How images are downloaded by their addresses."""

import re
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator

from pipelines.recipes.base import Recipe, RunOptions
from schemas.output_set.options import Globs, Options


class DownloadedImages(Options):
    """What is made of the images at addresses. Sizes and quality are DataComp's own."""

    urls_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="also those of a unit of work")
    image_size: PositiveInt = Field(512, description="pixels of the longer side; larger images are made smaller")
    encode_quality: int = Field(95, ge=1, le=100, description="of JPEG; img2dataset's default")
    max_bytes: int = Field(50_000_000, gt=0, lt=1 << 31, description="of one answer, which is held in memory")
    max_pixels: int = Field(64_000_000, gt=0, description="as for decoding: a bomb is small until then")


class DownloadPatience(Options):
    """Who may be asked for images, and for how long."""

    allow_hosts: list[str] = Field(
        [], description="hosts that may be asked although they are of this machine or a private network"
    )
    retries: int = Field(2, ge=0, le=10, description="of each address")
    timeout: float = Field(10.0, gt=0, description="seconds without a byte")
    answer_seconds: float = Field(60.0, gt=0, description="of one answer: some hosts send a byte now and then")
    deadline_seconds: float = Field(
        1800.0, gt=0, description="of one shard: the last hundredth can take longer than all others together"
    )

    @field_validator("allow_hosts")
    @classmethod
    def _names(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not host or "/" in host or re.fullmatch(r"[^:]*:\d*|\[.*\]:\d*", host):
                raise ValueError(f"{host!r} is no host's name: leave out scheme, port and path")
        return hosts


class DownloadOptions(DownloadPatience, DownloadedImages):
    """How images are downloaded by their addresses."""

    by: Literal["img2dataset"] = "img2dataset"


class DownloadRun(DownloadPatience, RunOptions):
    """How a download is carried out. Nothing that comes from the web is sure: patience is none of its recipe."""

    threads: int = Field(
        64, gt=0, le=1024, description="connections at once, of each worker; to one host, half of them at most"
    )
    min_success: float = Field(
        0.0, ge=0, le=1, description="share of all images; with less the run fails, and keeps what it has"
    )


class DownloadRecipe(DownloadedImages, Recipe):
    """Downloads the images of DataComp's metadata."""

    kind: ClassVar[str] = "download"
    input: Globs = Field(
        min_length=1, description="globs of Parquet files with `url`, and `text`, `uid`, `face_bboxes`, `sha256`"
    )
    blur_faces: bool = Field(True, description="blurs what `face_bboxes` names, where there is such a column")
    verify_hash: bool = Field(
        False, description="leaves out images that are not of `sha256`: some 14 % of DataComp's, mostly coded anew"
    )
    run: DownloadRun = DownloadRun()

    def options(self) -> DownloadOptions:
        """What one shard is downloaded by."""
        images = self.model_dump(include=set(DownloadedImages.model_fields))
        return DownloadOptions(**images, **self.run.model_dump(include=set(DownloadPatience.model_fields)))
