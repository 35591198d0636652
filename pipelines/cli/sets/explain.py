"""Implements `shardloom explain`."""

from typing import Annotated

import typer

from pipelines.cli.flags import parse_named_folders, require_lasting_path
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.output_set.recipe_file import validate_options
from schemas.terminal import print_json, print_result

FORMATS = ("text", "json")


def explain(
    output_set: Annotated[str, typer.Argument(metavar="SET", help="an output set's folder")],
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="a sample: its key (of several the first), its uid, or SHARD/KEY")
    ],
    span: Annotated[
        str | None,
        typer.Option(metavar="N|TEXT", help="a span of a caption: its number, or words; default: all of them"),
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="text or json")] = "text",
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            help="write the part of the image that the span came from: of a line of text, the strip that was read",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="the image shards, if they are not where the set was made from them: a glob, a folder, or of a set by "
            "reference OLD=NEW; may be repeated",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=PATH",
            help="an input that was moved: annotations, captions, source, or a mixture's source by its name; may be "
            "repeated",
        ),
    ] = None,
) -> None:
    """Trace a caption back to what engines found, to the bytes of the image, and to the row of the source.

    Each span of a caption is numbered; --span N shows what one came from, and --crop writes its part of the image.
    """
    from pipelines.explain.choice import choose_spans
    from pipelines.explain.crop import write_crop
    from pipelines.explain.options import ExplainOptions
    from pipelines.explain.report import list_lines
    from pipelines.explain.run import explain as run

    if format_ not in FORMATS:
        raise UsageError(f"--format: {format_!r} is no format: use {' or '.join(FORMATS)}")
    path = None if crop is None else require_lasting_path("crop", crop)
    named = {name: folders[-1] for name, folders in parse_named_folders("--set", sets).items()}
    options = validate_options(ExplainOptions, {"sets": named, "images": images or []}, None, "explain")
    with report_activity(f"explain: tracing {key} in {output_set}"):
        found = choose_spans(run(output_set, key, options), span)
        if path is not None:
            write_crop(found, path)
    if format_ == "json":
        print_json(found.to_dict())
        return
    for line in list_lines(found):
        print_result(line)
