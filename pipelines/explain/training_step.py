"""Traces a sample of training shards: through a mixture to its source, and from there to captions or a source's row."""

from typing import Any

from curation.mixture.reader import ShardFiles, build_record, to_index_rows
from curation.mixture.sources import open_set
from pipelines.explain.annotation_step import add_image
from pipelines.explain.caption_step import trace_caption
from pipelines.explain.join_step import find_captions
from pipelines.explain.mixture_step import find_source_sample
from pipelines.explain.origin import TRAINED, CaptionText, ImageBytes, Step
from pipelines.explain.source_step import trace_source
from pipelines.explain.trace import FoundRow, Trace, find_row
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.view.kinds.training_sets import read_located_index
from pipelines.view.parquet_files import list_tars
from pipelines.view.source import SetSource
from schemas.errors import ShardloomError
from schemas.layouts.blip3_ocr import parse_captions
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document
from schemas.storage.folder import Folder


def trace_sample(folder: Folder, key: str, trace: Trace, name: str | None = None) -> None:
    """Adds a sample of training shards, in the output `name` or in any, and what it was made from."""
    source = SetSource(folder, read_stored_recipe(folder))
    places = trace.inputs.find_places([one for manifest in source.manifests.values() for one in manifest.image_folders])
    shards = dict(zip(source.manifests, open_set(folder.url, places)[0], strict=True))
    names = [one for one, shard in shards.items() if shard.data.rows]
    found = find_row(names, lambda one: read_located_index(shards[one]), key, folder.url, name)
    (row,) = to_index_rows(found.table)
    files = ShardFiles()
    try:
        (sample,) = files.read([row])
    finally:
        files.close()
    images = [data for ending, data in sample.members if ending not in ("json", "txt")]
    trace.image = images[0] if len(images) == 1 else None
    place = f"{shards[found.name].data.path}, row {found.number}"
    facts = tuple((one, row[one]) for one in ("key", "source", "kind", "uid", "tokens") if row[one])
    image = _describe_image(row, len(images[0])) if len(images) == 1 else None
    trace.steps.append(Step(source.kind, folder.url, place, facts, image))
    if source.kind == MixRecipe.kind:
        drawn = find_source_sample(source, trace.inputs, found.name, found.number, row)
        more = (("drawn from", drawn.source), ("position", drawn.position))
        trace.steps[-1] = Step(source.kind, folder.url, place, (*facts, *more), image)
        trace_sample(drawn.folder, drawn.key, trace, drawn.name)
        return
    record = build_record(row, sample.members, row["key"])
    _add_texts(trace, record)
    if source.kind == ShardRecipe.kind and isinstance(record, CaptionedImage):
        _trace_joined(source, found, record, trace)
    else:
        trace_source(source, found.name, row["key"], trace)


def _describe_image(row: dict[str, Any], size: int) -> ImageBytes:
    """Returns where the `size` bytes of a sample's only image are: in its shard, or in the tar that it refers to."""
    sha256 = row["image_details"][0]["sha256"]
    if row.get("references"):
        one = row["references"][0]
        return ImageBytes(one["tar"], f"*.{one['ending']}", one["offset"], size, sha256)
    if row["offset"] is None:
        return ImageBytes(row["path"], f"row {row['row']}", None, size, sha256)
    one = next(member for member in row["members"] if member["ending"] not in ("json", "txt"))
    return ImageBytes(row["path"], f"{row['key']}.{one['ending']}", one["offset"], size, sha256)


def _add_texts(trace: Trace, record: CaptionedImage | Document) -> None:
    """Takes the texts of a sample, and the captions beside the text that is trained on."""
    if isinstance(record, Document):
        roles = record.roles or [""] * len(record.parts)
        trace.texts = [
            CaptionText(f"part {number}{role and f' ({role})'}", part, is_trained_on=True)
            for number, (part, role) in enumerate(zip(record.parts, roles, strict=True))
            if isinstance(part, str)
        ]
        return
    trace.size = (record.width, record.height)
    trace.texts = [CaptionText(TRAINED, record.text, is_trained_on=True)]
    try:
        trace.add_captions(parse_captions(record.captions), record.metadata)
    except ValueError as error:
        raise ShardloomError(f"{record.key}: its captions cannot be read: {error}: verify the set") from None


def _trace_joined(source: SetSource, found: FoundRow, record: CaptionedImage, trace: Trace) -> None:
    """Goes on to the captions that the sample was joined with; if these are of others, to its image shard."""
    manifest = source.manifests[found.name]
    captions = find_captions(source, manifest, record, trace.inputs)
    if captions.is_own:
        trace_caption(captions.folder, captions.key, trace, captions.name)
        return
    trace.steps.append(Step("captions", captions.folder.url, f"image {captions.key}", (("kind", "a published set"),)))
    trace.notes.append(f"{captions.folder.url} is a published set, which does not say what found its lines and boxes")
    row = {"key": record.source_key, "sha256": record.sha256, "uid": record.uid, "url": record.url}
    add_image(trace, source.folder, manifest.inputs, list_tars(manifest), record.source_shard, row)
