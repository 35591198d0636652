"""Implements `shardloom retry`."""

import contextlib
import sys
from typing import Annotated, Any

import typer

from pipelines.cli.flags import Address, AllowDamaged, Json, RecipeFile, TrustCode, Workers, build_run_options, report
from pipelines.recipes.base import Recipe, load_recipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import RECIPE_FILE, format_value
from schemas.storage.folder import Folder


def retry(
    output_set: Annotated[
        str, typer.Argument(metavar="SET", help="the folder of a set of annotate, download or ingest")
    ],
    reason: Annotated[
        str | None,
        typer.Option(help="retry the rows of this reason alone, such as engine_error or http_503; default: all"),
    ] = None,
    recipe: RecipeFile = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE=FOLDER", help="weights of an engine, such as boxes=FOLDER; may be repeated"),
    ] = None,
    vocabulary: Annotated[str | None, typer.Option(metavar="FILE", help="file of the tags, one per line")] = None,
    allow_download: Annotated[
        bool | None, typer.Option("--allow-download", help="allow weights by their name on the Hugging Face hub")
    ] = None,
    trust_code: TrustCode = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Work again on the quarantined rows of a set alone, and merge what comes out. The same command resumes it.

    Engines, weights, settings and input must be those that the set was made with. Data and quarantine are then those of
    a run in which the rows had not failed.
    """
    from pipelines.retry.run import RETRIED
    from pipelines.retry.run import retry as run

    folder = Folder(output_set)
    values = read_values(folder, recipe)
    kind = str(values.get("kind"))
    if kind not in RETRIED:
        known = ", ".join(RETRIED)
        what = format_value(values.get("kind"))
        raise UsageError(f"{output_set} is of the kind {what}; retry is for sets of {known}")
    engines: dict[str, Any] = {}
    if kind == "annotate":
        engines = _choose_engines(values, trust_code or [], weights, vocabulary, allow_download)
    elif kind == "ingest":
        from curation.sources import SOURCES

        SOURCES.trust(*trust_code or ())
    run_options = {"run": build_run_options(None, workers, address, allow_damaged)}
    loaded: Recipe = load_recipe(RETRIED[kind], recipe, values, **engines, **run_options)
    if recipe is None and kind == "annotate":
        _refuse_untrusted(folder, loaded, engines["engines"])
    with contextlib.redirect_stdout(sys.stderr):  # Ray prints about lost workers to stdout
        totals = run(loaded, output_set, reason)
    report(totals, output_set, json_)


def read_values(folder: Folder, recipe: str | None) -> dict[str, Any]:
    """Returns the values of a recipe file, or else of the set's own recipe, with its kind."""
    from pipelines.annotate.reuse import read_set_recipe
    from pipelines.retry.run import RETRIED

    stored = read_set_recipe(folder)
    model = RETRIED.get(str(stored.get("kind")))
    return stored if recipe is None or model is None else {"kind": model.kind} | model.read_file(recipe)


def _choose_engines(
    values: dict[str, Any],
    trust_code: list[str],
    weights: list[str] | None,
    vocabulary: str | None,
    allow_download: bool | None,
) -> dict[str, Any]:
    from curation.engines.registry import ENGINES
    from pipelines.engines.flags import parse_engines, select_stored_engines

    ENGINES.trust(*trust_code)
    stored = select_stored_engines(values, None)
    return {"engines": parse_engines(None, weights, vocabulary, allow_download, None, stored)}


def _refuse_untrusted(folder: Folder, recipe: Any, given: dict[str, Any]) -> None:
    """Raises `UsageError` where the set's own recipe names files for an engine that the user has not named."""
    from pipelines.engines.flags import list_stored_stages
    from pipelines.engines.untrusted_settings import refuse_untrusted_settings

    refuse_untrusted_settings(
        folder.resolve_path(RECIPE_FILE),
        recipe.engines.list_stages(),
        (),
        list_stored_stages(given),
        "--recipe with the recipe of the set",
    )
