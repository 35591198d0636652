"""Implements `shardloom engines`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.flags import Json, TrustCode, parse_named_folders
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.terminal import print_json, print_result


def engines(
    build: Annotated[
        str | None, typer.Option(metavar="ENVIRONMENT", help="build this Python environment, which an engine runs in")
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="fetch published weights from the hub: grounding-dino or siglip"),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="with --fetch: where to; default: NAME")
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE=FOLDER", help="check these weights, such as ocr=FOLDER")
    ] = None,
    trust_code: TrustCode = None,
    json_: Json = False,
) -> None:
    """List the engines by kind: which are ready on this machine, what the others miss, and how to get it.

    Sources and caption families from plug-ins are listed after them.
    """
    if output is not None and fetch is None:
        raise UsageError("--output: it is where --fetch puts weights: pass --fetch NAME with it")
    if fetch is not None:
        _fetch(fetch, Path(output or fetch), json_)
        return
    from pipelines.engines.listing import as_dicts, list_engines, trust_references
    from pipelines.engines.listing import build_environment as run
    from pipelines.terminal.tables import print_engines

    if build is not None:
        folder = run(build)
        if json_:
            print_json({"environment": build, "folder": folder})
        else:
            print_result(folder)
        return
    trust_references(trust_code or ())
    given = {kind: folders[-1] for kind, folders in parse_named_folders("--weights", weights).items()}
    with report_activity("engines: looking at what is installed"):
        listed = as_dicts(list_engines(given))
    if json_:
        print_json(listed)
        return
    print_engines(listed)


def _fetch(name: str, folder: Path, as_json: bool) -> None:
    from curation.engines.published_weights import PUBLISHED, fetch_published

    is_new = fetch_published(name, folder)
    found = PUBLISHED[name]
    use = f"shardloom annotate {found.engine} --weights {found.kind}={folder}"
    LOG.info(f"{'fetched' if is_new else 'it was there already'}: use it by {use}")
    if as_json:
        print_json({"weights": name, "folder": str(folder), "repository": found.repository, "revision": found.revision})
    else:
        print_result(str(folder))
