"""`shardloom demo`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Workers
from schemas.extras import require_extra


def demo(
    output: Annotated[
        str, typer.Option("--output", "-o", help="where to write; may hold an earlier demo")
    ] = "demo-output",
    pictures: Annotated[int, typer.Option(min=12, max=20_000, help="pictures to draw")] = 240,
    workers: Workers = None,
    steps: Annotated[int | None, typer.Option(min=1, help="steps of training; default: the 500 of its recipe")] = None,
) -> None:
    """Run the whole path on pictures drawn on the spot: no network, no files, a few minutes."""
    for extra in ("ocr", "train"):
        require_extra(extra, "the demo")
    from pipelines.demo.flow import demo as run

    run(output, pictures, workers, steps=steps)
