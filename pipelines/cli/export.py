"""Implements `shardloom export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.extras import require_extra
from schemas.terminal import print_json, print_result


def export(
    run: Annotated[str, typer.Argument(help="a run's folder, or a checkpoint or an export of it")],
    step: Annotated[int | None, typer.Option(min=1, help="the checkpoint's step; default: the newest")] = None,
    dtype: Annotated[Literal["fp32", "bf16"], typer.Option(help="bf16 takes half of fp32's space")] = "fp32",
    kind: Annotated[
        Literal["shardloom", "hf", "llava", "xgen-mm"],
        typer.Option(
            "--format",
            help="hf: for transformers, with code; llava: its own, for connector mlp; xgen-mm: the released names",
        ),
    ] = "shardloom",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="default: RUN/model; RUN/model-step-N where the run has exported its model; RUN/FORMAT-step-N",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Export the model of a run's checkpoint, as the run exports its own at the end, or for other programs."""
    require_extra("train", "export")
    if not Path(run).is_dir():
        raise UsageError(f"no folder {run}: pass the folder of a run, or one of its checkpoints")
    with report_activity("export: loading PyTorch"):  # its import takes seconds
        from training.export import export_checkpoint

    folder = export_checkpoint(run, step, dtype, output, kind)
    if json_:
        print_json({"model": str(folder)})
    else:
        print_result(f"model: {folder}")
