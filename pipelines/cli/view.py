"""Implements `shardloom view`."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.flags import Json, require_lasting_path
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.output_set.recipe_file import validate_options
from schemas.terminal import print_json, print_result

if TYPE_CHECKING:
    from pipelines.view.options import ViewOptions

FORMATS = {"html": ".html", "coco": ".json"}
"""What is written, with the ending of the file."""


def view(
    output_set: Annotated[str, typer.Argument(metavar="SET", help="an output set's folder, or that of a training run")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="the file to write; default: the set's name with .html, or .json for coco"),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="html; or coco: boxes and text lines of an annotation set as COCO's JSON, all rows"
        ),
    ] = "html",
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

    if format_ not in FORMATS:
        raise UsageError(f"--format: {format_!r} is no format: use {' or '.join(FORMATS)}")
    given = {"sample": sample, "key": key, "where": where, "images": images or None, "max_megabytes": max_megabytes}
    options = validate_options(ViewOptions, {k: v for k, v in given.items() if v is not None}, None, "view")
    name = PurePosixPath(output_set.rstrip("/")).name or "view"
    path = require_lasting_path("output", output or f"{name}{FORMATS[format_]}")
    if format_ == "html":
        _write_page(output_set, path, options, json_)
        return
    if images or max_megabytes is not None:
        raise UsageError(f"--images and --max-megabytes are for pages, not for --format {format_}")
    _export_coco(output_set, path, options, json_)


def _write_page(output_set: str, path: str, options: "ViewOptions", as_json: bool) -> None:
    from pipelines.view.run import write_view

    with report_activity(f"view: reading {output_set}"):
        totals = write_view(output_set, path, options)
    if as_json:
        print_json(totals.to_dict())
        return
    counts = [f"{totals.samples:,} samples"] * bool(totals.samples)
    counts += [f"{totals.quarantined:,} quarantined"] * bool(totals.quarantined)
    print_result(f"{path}: {', '.join([*counts, f'{totals.bytes / (1 << 20):.1f} MB'])}; open it in a browser")
    for note in totals.notes:
        print_result(f"note: {note}")


def _export_coco(output_set: str, path: str, options: "ViewOptions", as_json: bool) -> None:
    from pipelines.view.coco import write_coco

    with report_activity(f"view: exporting {output_set}"):
        totals = write_coco(output_set, path, options)
    if as_json:
        print_json(totals.to_dict())
        return
    counts = totals.to_dict()
    print_result(f"{path}: {', '.join(f'{counts[name]:,} {name}' for name in ('images', 'annotations', 'categories'))}")
