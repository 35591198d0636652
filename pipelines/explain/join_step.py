"""Finds the captions that a sample of `shard` was joined with, by the look-up that has joined them."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from pipelines.explain.inputs import SetInputs
from pipelines.explain.trace import require_same
from pipelines.shard.caption_set import CaptionSet
from pipelines.view.image_shards import find_tars
from pipelines.view.source import SetSource
from schemas.errors import UsageError
from schemas.output_set.manifest import Manifest
from schemas.records.captioned_image import CaptionedImage
from schemas.records.identity import Identity
from schemas.storage.folder import Folder

CAPTIONS = "captions"


@dataclass(frozen=True, slots=True)
class JoinedCaptions:
    """Names the row of a caption set."""

    folder: Folder
    is_own: bool  # written by `render`; else the key is all that is known
    name: str  # of the output
    key: str


def find_captions(source: SetSource, manifest: Manifest, record: CaptionedImage, inputs: SetInputs) -> JoinedCaptions:
    """Returns the row that a sample was joined with. Raises `UsageError` if the captions were moved or have changed."""
    made, recorded = source.folder.url, str(source.recipe.get("captions"))
    path = inputs.resolve(CAPTIONS, recorded)
    if not Folder(path).exists():
        raise UsageError(
            f"{made} was made from the captions in {path}, which are not there now: pass --set {CAPTIONS}=FOLDER"
        )
    captions = CaptionSet(path)
    require_same(next(iter(manifest.inputs), None), captions.revision.sha256, CAPTIONS, path, made)
    if not captions.is_own:
        return JoinedCaptions(captions.folder, False, "", record.source_key)
    label, key = record.source_shard, record.source_key
    paths = find_tars((one.path for one in manifest.inputs), label)
    tar = next((one for one in manifest.inputs if one.path in paths), None)
    shard = label if tar is None else PurePosixPath(tar.path).stem
    sample = Identity(shard, key, record.sha256, record.uid or None, record.url or None)
    file = None if tar is None else captions.find_file(shard, tar.sha256)
    lookup = captions.look_up_samples([sample]) if file is None else captions.read_file(file, shard)
    match = lookup.find(sample)
    if match is None:
        raise UsageError(f"{path} has no captions of {label}/{key}: verify {made}, which was made from them")
    row = match.row.identity
    name = str(row.shard) if file is None else PurePosixPath(file).stem
    return JoinedCaptions(captions.folder, True, name, str(row.key))
