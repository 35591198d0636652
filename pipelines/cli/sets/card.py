"""Implements `shardloom card`."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.log import LOG
from schemas.terminal import print_json, print_result


def card(
    output_set: Annotated[str, typer.Argument(metavar="SET", help="an output set's folder")],
    license: Annotated[
        str | None,
        typer.Option("--license", help="licence of the set, such as cc-by-4.0; default: as the card says"),
    ] = None,
    json_: Json = False,
) -> None:
    """Write the card of a set again, with what was measured of it, and Croissant metadata beside it.

    The card has counts, shares, engines, the scores of `evaluate` with their intervals, sources with their licences,
    and known faults. One that you have edited is kept. Croissant needs the extra `croissant`.
    """
    from pipelines.card.run import refresh_card

    with report_activity(f"card: reading {output_set}"):
        written = refresh_card(output_set, license)
    if json_:
        print_json(asdict(written))
    else:
        print_result("; ".join(filter(None, [written.card, written.croissant])))
    if written.croissant is None:
        LOG.info("no croissant.json is written: pip install 'shardloom[croissant]'")
