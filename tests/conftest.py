"""What several test modules need: the sample data, and shards made on the spot."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import Phase, settings
from PIL import Image

from schemas.log import configure_log, reset_log
from schemas.tar.writer import TarWriter

if TYPE_CHECKING:
    from tests.support.s3.bucket import Bucket
    from tests.support.s3.store import Store

REPOSITORY = Path(__file__).parents[1]

# A busy machine is not a failure. Fifty examples are half of the usual, for there are sixty such tests.
# The same ones in every run, so that a rare find stops no unrelated change; SHARDLOOM_EXPLORE=1 draws others.
# The first failing example kills a mutant: mutmut needs no smallest one, which may take minutes to find. It draws ten,
# because the tests run once for each of thousands of mutants.
MUTATING = "MUTANT_UNDER_TEST" in os.environ
settings.register_profile(
    "shardloom",
    settings.default,
    deadline=None,
    max_examples=10 if MUTATING else 50,
    derandomize="SHARDLOOM_EXPLORE" not in os.environ,
    phases=[Phase.explicit, Phase.generate] if MUTATING else settings.default.phases,
)
settings.load_profile("shardloom")


@pytest.fixture(autouse=True)
def _show_log() -> Iterator[None]:
    """Shows messages as the command line does, but for lines on what takes long: tests compare what is printed."""
    with pytest.MonkeyPatch.context() as patch:  # not the test's own, which would then be undone last of all
        patch.setattr("schemas.activity.FIRST_LINE_SECONDS", 600.0)
        patch.setattr("schemas.activity.LINE_SECONDS", 600.0)
        configure_log()
        yield
        reset_log()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real sample data; skips the test where it is absent."""
    folder = Path(os.environ.get("SHARDLOOM_DATA", REPOSITORY / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("no sample data (SHARDLOOM_DATA)")
    return folder


def jpeg(seed: int, width: int = 64, height: int = 48) -> bytes:
    """A small picture, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_shard(path: Path, images: list[bytes], first: int = 0) -> None:
    """A tar in the img2dataset layout. Keys count from `first`; the uid is the key's MD5."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for number, image in enumerate(images, first):
            key = f"{number:012d}"
            uid = hashlib.md5(key.encode()).hexdigest()
            details = {"uid": uid, "url": f"https://example.org/{key}.jpg", "key": key, "caption": f"picture {key}"}
            writer.add(f"{key}.jpg", image)
            writer.add(f"{key}.json", json.dumps(details).encode())
            writer.add(f"{key}.txt", details["caption"].encode())
        writer.close()


@pytest.fixture(scope="session")
def make_shards() -> Callable[..., str]:
    """Writes shards of small pictures into a folder; returns their glob."""

    def make(folder: Path, shards: int = 3, samples: int = 20) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        for shard in range(shards):
            images = [jpeg(1000 * shard + number) for number in range(samples)]
            write_shard(folder / f"{shard:08d}.tar", images, first=10_000 * shard)
        return f"{folder}/*.tar"

    return make


@pytest.fixture(scope="session")
def store() -> "Iterator[Store]":
    """An object store."""
    from tests.support.s3.store import running_store  # here, for moto takes a second to import

    with running_store() as running:
        yield running


@pytest.fixture
def bucket(store: "Store", monkeypatch: pytest.MonkeyPatch) -> "Iterator[Bucket]":
    """An empty bucket in it, which this process and those it starts reach through a proxy that spoils nothing yet."""
    from tests.support.s3.bucket import fresh_bucket

    with fresh_bucket(store, monkeypatch) as made:
        yield made
