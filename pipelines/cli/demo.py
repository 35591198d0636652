"""Implements `shardloom demo`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Workers
from schemas.activity import report_activity
from schemas.extras import require_extra
from schemas.log import LOG
from schemas.storage.folder import Folder


def demo(
    output: Annotated[
        str, typer.Option("--output", "-o", help="the demo's folder; may hold an earlier demo")
    ] = "demo-output",
    pictures: Annotated[int, typer.Option(min=12, max=20_000, help="number of pictures to draw")] = 240,
    workers: Workers = None,
    steps: Annotated[int | None, typer.Option(min=1, help="training steps; default: 500, from its recipe")] = None,
) -> None:
    """Run every step, from images to a trained model, on generated pictures: a few minutes, no network, no input."""
    for extra in ("ocr", "train"):
        require_extra(extra, "the demo")
    Folder(output).check_output()
    LOG.info(f"demo: drawing {pictures:,} pictures")
    from pipelines.demo.flow import run_demo as run

    with report_activity(f"demo: working in {output}"):
        run(output, pictures, workers, steps=steps)
