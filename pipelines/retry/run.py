"""Works again on the quarantined rows of a set, by the recipe that it stores, and merges what comes out.

Data and quarantine are then those of a run in which the rows had not failed, and manifests differ in their attempts.
"""

from pipelines.download.retries.job import RetryDownloadJob
from pipelines.ingest.retries.job import RetryIngestJob
from pipelines.output.job import run_job
from pipelines.output.replacement import STAGED, finish_replacements
from pipelines.output.totals import Totals
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.base import Recipe
from pipelines.recipes.download import DownloadRecipe
from pipelines.recipes.ingest import IngestRecipe
from pipelines.retry.annotations import RetryAnnotateJob
from schemas.errors import UsageError
from schemas.output_set.layout import UNFINISHED
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder

RETRIED: dict[str, type[Recipe]] = {model.kind: model for model in (AnnotateRecipe, DownloadRecipe, IngestRecipe)}
"""The kinds of sets whose rows can fail for a reason that passes, with the models of their recipes."""


def retry(recipe: Recipe, output: str, reason: str | None = None) -> Totals:
    """Works again on the quarantined rows of a set that was made by this recipe; `reason` names the only ones to retry.

    Raises `UsageError` for a set that is not finished or was made by another recipe, and `ShardloomError` where engines
    or inputs have changed.
    """
    folder = Folder(output)
    folder.check_output()
    with lock_output(folder, "retry"):
        finish_replacements(folder, recipe.kind)
    if folder.exists(UNFINISHED) and not folder.list_files(STAGED):
        raise UsageError(f"{output} is not finished: the command that made it resumes it; retry it then")
    if isinstance(recipe, AnnotateRecipe):
        return run_job(RetryAnnotateJob(recipe, reason), output)
    if isinstance(recipe, DownloadRecipe):
        return run_job(RetryDownloadJob(recipe, reason), output)
    assert isinstance(recipe, IngestRecipe)
    return run_job(RetryIngestJob(recipe, reason), output)
