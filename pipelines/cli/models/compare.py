"""Implements `shardloom compare`."""

from typing import Annotated, Literal

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.extras import require_extra
from schemas.terminal import print_json

MAX_SEED = 2**32 - 1  # torch and NumPy take no larger ones alike


def compare(
    first: Annotated[str, typer.Argument(metavar="A.yaml", help="a recipe of kind train: the baseline")],
    second: Annotated[str, typer.Argument(metavar="B.yaml", help="the recipe to compare with it")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="override both recipes, for example steps=1000"),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", help="a task file, as for evaluate model; may be repeated")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="the folder for the runs, all predictions and the scores")
    ] = None,
    seeds: Annotated[int, typer.Option(help="trainings of each recipe; a later call may add some")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="the first seed; the others follow")] = 0,
    null: Annotated[
        bool, typer.Option("--null", help="train A with other seeds as well: its difference from itself is noise")
    ] = False,
    equal: Annotated[
        Literal["positions", "images"],
        typer.Option(help="what both must train on as many of: positions of sequences, or images"),
    ] = "positions",
    plan: Annotated[bool, typer.Option("--plan", help="check everything and print what would be done")] = False,
    ranks: Annotated[
        int, typer.Option(min=1, help="GPUs that each training runs on, started by torchrun; the evaluation takes one")
    ] = 1,
    batch_size: Annotated[int | None, typer.Option(min=1, help="questions per batch; default: 8")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="of the evaluation; that of training is run.device")
    ] = "auto",
    json_: Json = False,
) -> None:
    """Train two recipes at equal token budgets and seeds, and compare their models on tasks, with 95% intervals.

    Prints how far B is above A, with a 95% interval over seeds and questions, and the smallest difference that this
    design could have seen. The same command resumes: a finished training is not repeated.
    """
    if not task or output is None:
        raise UsageError("compare: pass --task, a task file, and --output, a folder for the runs and predictions")
    require_extra("train", "compare")
    with report_activity("compare: loading PyTorch"):
        from pipelines.compare.run import CompareOptions, plan_comparison
        from pipelines.compare.run import compare as run
        from pipelines.evaluate.model import BATCH_SIZE
        from pipelines.terminal.comparison import print_comparison, print_comparison_plan
    asked = CompareOptions(
        first=first,
        second=second,
        output=output,
        tasks=task,
        overrides=overrides or (),
        seeds=seeds,
        first_seed=first_seed,
        null=null,
        equal=equal,
        ranks=ranks,
        batch_size=batch_size or BATCH_SIZE,
        device=device,
    )
    with report_activity("compare: checking the recipes, their sets and the tasks"):
        planned = plan_comparison(asked)
    found = planned.to_dict() if plan else run(planned).to_dict()
    if json_:
        print_json(found)
    elif plan:
        print_comparison_plan(found)
    else:
        print_comparison(found)
