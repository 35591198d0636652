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

FORMATS = {"html": ".html", "coco": ".json", "fiftyone": "-fiftyone"}
"""What is written, with the ending of its default name."""


def view(
    output_set: Annotated[
        str,
        typer.Argument(metavar="SET", help="the folder of an output set, of a training run, or of `evaluate model`"),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="the file to write, or fiftyone's folder; default: the set's name with .html, .json or -fiftyone",
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="html; of all rows of an annotation set: coco, boxes and lines as COCO's JSON, or fiftyone, a folder "
            "with the images that FiftyOne loads as a FiftyOneDataset",
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
    key: Annotated[
        str | None, typer.Option(help="show one sample: its key (of several the first), its uid, or SHARD/KEY")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="show samples for which a condition on their columns is true, such as "
            "'width > 300 AND array_length(ocr) > 2'; of training shards, the columns of the index",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="show the images of a ground truth, JSONL as for evaluate, with what was missed and false alarms",
        ),
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="FILE", help="JSONL file that gives the uid of each file in the truth")
    ] = None,
    max_megabytes: Annotated[
        float | None, typer.Option(help="the page's size; pictures get smaller to fit; default: 15")
    ] = None,
    json_: Json = False,
) -> None:
    """Show what a set, a run or an evaluation holds as an HTML file: pictures, captions, charts.

    The file needs no server, and makes no request. In it, point at words of a caption, or reach them by the keyboard,
    and the place in the picture that they are from lights up.
    """
    from pipelines.view.options import ViewOptions

    if format_ not in FORMATS:
        raise UsageError(f"--format: {format_!r} is no format: use html, coco or fiftyone")
    if index is not None and truth is None:
        raise UsageError("--index: it is of a ground truth: pass --truth as well")
    given = {"sample": sample, "key": key, "where": where, "images": images or None, "max_megabytes": max_megabytes}
    given |= {"truth": truth, "index": index}
    options = validate_options(ViewOptions, {k: v for k, v in given.items() if v is not None}, None, "view")
    name = PurePosixPath(output_set.rstrip("/")).name.strip(".") or "view"
    path = require_lasting_path("output", output or f"{name}{FORMATS[format_]}")
    if format_ == "html":
        _write_page(output_set, path, options, json_)
        return
    if truth is not None or max_megabytes is not None:
        raise UsageError(f"--truth and --max-megabytes are for pages, not for --format {format_}")
    if format_ == "fiftyone":
        _export_fiftyone(output_set, path, options, json_)
        return
    if images:
        raise UsageError("--images is for pages and fiftyone: --format coco has no images")
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
    from pipelines.view.exports.coco import write_coco

    with report_activity(f"view: exporting {output_set}"):
        totals = write_coco(output_set, path, options)
    if as_json:
        print_json(totals.to_dict())
        return
    counts = totals.to_dict()
    print_result(f"{path}: {', '.join(f'{counts[name]:,} {name}' for name in ('images', 'annotations', 'categories'))}")


def _export_fiftyone(output_set: str, path: str, options: "ViewOptions", as_json: bool) -> None:
    from pipelines.view.exports.fiftyone import write_fiftyone

    with report_activity(f"view: exporting {output_set} with its images"):
        totals = write_fiftyone(output_set, path, options)
    if as_json:
        print_json(totals.to_dict())
        return
    print_result(f"{path}: {totals.samples:,} samples, {totals.boxes:,} boxes, {totals.lines:,} lines")
    if totals.without_image:
        print_result(f"note: {totals.without_image:,} rows are left out: their image was not found, or has changed")
