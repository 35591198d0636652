"""Lists published weights that Shardloom can fetch, each at one revision, so that everybody gets the same bytes.

Only safetensors, JSON and text files are fetched, never pickles. The folder is checked as before a run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curation.engines.boxes import grounding_dino_weights
from curation.engines.hub import HubError, fetch_files
from curation.engines.kinds import EngineKind
from curation.engines.tags import siglip_weights
from curation.engines.weights import WeightsFormat
from schemas.activity import report_activity
from schemas.errors import ShardloomError, UsageError

HUB = "https://huggingface.co"
HUB_FOLDER = ".cache/huggingface"  # in which the hub's library keeps what an interrupted fetch has got


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Describes weights on the hub. Both that are listed have the licence Apache-2.0."""

    kind: EngineKind
    engine: str  # as `annotate` takes it
    repository: str
    revision: str  # a commit of the repository
    megabytes: int
    format: WeightsFormat
    check: Callable[[Path], None]


PUBLISHED = {
    "grounding-dino": PublishedWeights(
        "boxes",
        "tags,boxes",
        "IDEA-Research/grounding-dino-tiny",
        "a2bb814dd30d776dcf7e30523b00659f4f141c71",
        690,
        grounding_dino_weights.GROUNDING_DINO,
        grounding_dino_weights.check_folder,
    ),
    "siglip": PublishedWeights(
        "tags",
        "tags:siglip",
        "google/siglip-base-patch16-224",
        "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",
        815,
        siglip_weights.SIGLIP,
        siglip_weights.check_folder,
    ),
}


def fetch_published(name: str, folder: Path) -> bool:
    """Fetches the weights into a folder, unless they are there. Returns whether anything was fetched.

    The same call continues a fetch that was interrupted. Raises `UsageError` for an unknown name, a folder of other
    files and unfit weights, and `ShardloomError` where the hub does not give them.
    """
    if name not in PUBLISHED:
        raise UsageError(f"no weights are named {name!r}: use {' or '.join(PUBLISHED)}, or fetch others yourself")
    found = PUBLISHED[name]
    if folder.exists() and _is_complete(found, folder):
        return False

    def describe(seconds: float) -> str:
        some = f": {_sum_megabytes(folder):,} of {found.megabytes} MB" if seconds > 1 else ""
        return f"fetching {found.repository} at {found.revision[:12]} into {folder}{some}"

    try:
        with report_activity(describe, at_once=True):
            fetch_files(found.repository, found.format.download_patterns, found.revision, folder)
    except HubError as error:
        raise ShardloomError(
            f"cannot fetch {found.repository}: {error}; fetch {found.format.required_files} from "
            f"{HUB}/{found.repository} elsewhere, and pass --weights {found.kind}=FOLDER"
        ) from None
    found.check(folder)
    return True


def _is_complete(found: PublishedWeights, folder: Path) -> bool:
    """Returns whether a folder has the weights; if not, it is empty or has what an interrupted fetch has left.

    Raises `UsageError` for a folder of other files.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file: pass another --output")
    if not any(folder.iterdir()):
        return False
    try:
        found.check(folder)
    except UsageError as error:
        if not (folder / HUB_FOLDER).is_dir():
            raise UsageError(f"{folder} holds something else ({error}): pass another --output") from None
        return False
    return True


def _sum_megabytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
