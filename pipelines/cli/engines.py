"""Implements `shardloom engines`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json, TrustCode, parse_named_folders
from schemas.activity import report_activity
from schemas.terminal import print_json, print_result


def engines(
    build: Annotated[
        str | None, typer.Option(metavar="ENVIRONMENT", help="build this Python environment, which an engine runs in")
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
