"""`shardloom engines`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json, TrustCode, named
from schemas.terminal import say, say_json


def engines(
    build: Annotated[str | None, typer.Option(metavar="ENVIRONMENT", help="build what an engine runs in")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE=FOLDER", help="look at these weights, as ocr=FOLDER")
    ] = None,
    trust_code: TrustCode = None,
    json_: Json = False,
) -> None:
    """List the engines by kind: what is ready on this machine, what is missing, and how to get it.

    Sources and families of captions that are not ours are listed after them.
    """
    from pipelines.engines.listing import as_dicts, list_engines, trust
    from pipelines.engines.listing import build as run
    from pipelines.terminal.tables import print_engines

    if build is not None:
        folder = run(build)
        if json_:
            say_json({"environment": build, "folder": folder})
        else:
            say(folder, is_result=True)
        return
    trust(trust_code or ())
    given = {kind: folders[-1] for kind, folders in named("--weights", weights).items()}
    listed = as_dicts(list_engines(given))
    if json_:
        say_json(listed)
        return
    print_engines(listed)
