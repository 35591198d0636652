"""Explains a sample of an output set: its captions, what their words came from, and the way back to the source."""

from dataclasses import replace

from pipelines.explain.annotation_step import trace_annotation
from pipelines.explain.caption_step import trace_caption
from pipelines.explain.inputs import SetInputs
from pipelines.explain.options import ExplainOptions
from pipelines.explain.origin import Explanation
from pipelines.explain.spans import tie_annotations, tie_captions
from pipelines.explain.trace import ROW_NUMBER, Trace
from pipelines.explain.training_step import trace_sample
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.ingest import IngestRecipe
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.recipes.shard import ShardRecipe
from pipelines.view.kinds.annotations import list_renderings
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.storage.folder import Folder

TRAINING_KINDS = (ShardRecipe.kind, MixRecipe.kind, IngestRecipe.kind)


def explain(output_set: str, key: str, options: ExplainOptions | None = None) -> Explanation:
    """Explains the sample with this key, uid or SHARD/KEY.

    Raises `UsageError` for a set of another kind, an unknown key, and an input that was moved or has changed; the
    message says how to point at it.
    """
    options = options or ExplainOptions()
    folder = Folder(output_set)
    recipe = read_stored_recipe(folder)
    kind = recipe.get("kind")
    trace = Trace(SetInputs(options.sets, options.images))
    if kind == AnnotateRecipe.kind:
        found = trace_annotation(folder, key, trace)
        table = found.table.drop_columns([ROW_NUMBER])
        captions, spans = tie_annotations(trace, table, list_renderings(folder.url, recipe))
    elif kind == RenderRecipe.kind:
        trace_caption(folder, key, trace)
        captions, spans = tie_captions(trace)
    elif kind in TRAINING_KINDS:
        trace_sample(folder, key, trace)
        captions, spans = tie_captions(trace)
    else:
        known = ", ".join((AnnotateRecipe.kind, RenderRecipe.kind, *TRAINING_KINDS))
        raise UsageError(f"{folder.url} is of the kind {format_value(kind)}; explain traces {known}")
    trace.inputs.check_all_used(folder.url)
    spans = [replace(span, number=number) for number, span in enumerate(spans)]
    return Explanation(folder.url, key, captions, spans, trace.engines, trace.steps, trace.notes, trace.image)
