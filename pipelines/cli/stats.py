"""Implements `shardloom stats`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json
from pipelines.terminal.tables import print_stats
from schemas.activity import report_activity
from schemas.terminal import print_json


def stats(
    output: Annotated[str, typer.Argument(help="an output set's folder")],
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="also count the rows that meet a condition on their columns, such as 'array_length(ocr) > 2'; of "
            "training shards, the columns of the index",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Print what an output set holds, what was quarantined and why, and how long the runs took."""
    from pipelines.stats.run import collect_stats as run

    with report_activity(f"stats: adding up {output}"):
        found = run(output, where)
    if json_:
        print_json(found)
        return
    print_stats(found)
