"""Implements `shardloom view`."""

from pathlib import PurePosixPath
from typing import Annotated

import typer

from pipelines.cli.flags import Json, require_lasting_path
from schemas.activity import report_activity
from schemas.output_set.recipe_file import validate_options
from schemas.terminal import print_json, print_result


def view(
    output_set: Annotated[str, typer.Argument(metavar="SET", help="an output set's folder, or that of a training run")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="the page to write; default: the set's name with .html")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="the image shards, if they are not where the set was made from them; of a set by reference "
            "[OLD=]NEW, the present folder; may be repeated",
        ),
    ] = None,
    sample: Annotated[int | None, typer.Option(help="samples to show, spread over the set; default: 60")] = None,
    key: Annotated[str | None, typer.Option(help="show one sample: its key, its uid, or SHARD/KEY")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="show samples for which a condition on their columns is true, such as "
            "'width > 300 AND array_length(ocr) > 2'; of training shards, the columns of the index",
        ),
    ] = None,
    max_megabytes: Annotated[
        float | None, typer.Option(help="the page's size; pictures get smaller to fit; default: 15")
    ] = None,
    json_: Json = False,
) -> None:
    """Show what a set holds as one HTML file: pictures with what was found in them, captions, and charts.

    The file needs no server, and makes no request. In it, point at words of a caption, or reach them by the keyboard,
    and the place in the picture that they are from lights up.
    """
    from pipelines.view.options import ViewOptions
    from pipelines.view.run import write_view

    given = {"sample": sample, "key": key, "where": where, "images": images or None, "max_megabytes": max_megabytes}
    options = validate_options(ViewOptions, {k: v for k, v in given.items() if v is not None}, None, "view")
    page = require_lasting_path("page", output or f"{PurePosixPath(output_set.rstrip('/')).name or 'view'}.html")
    with report_activity(f"view: reading {output_set}"):
        totals = write_view(output_set, page, options)
    if json_:
        print_json(totals.to_dict())
        return
    shown = f"{totals.samples:,} samples" + (f", {totals.quarantined:,} quarantined" if totals.quarantined else "")
    print_result(f"{page}: {shown}, {totals.bytes / (1 << 20):.1f} MB; open it in a browser")
    for note in totals.notes:
        print_result(f"note: {note}")
