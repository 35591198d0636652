"""Implements `shardloom evaluate`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.terminal import print_json


def evaluate(
    what: Annotated[str, typer.Argument(help="boxes or ocr")],
    annotations: Annotated[str, typer.Argument(help="the annotation set's folder")],
    truth: Annotated[str, typer.Option(help="JSONL file of the ground truth")],
    index: Annotated[str | None, typer.Option(help="JSONL file that gives the uid of each file in the truth")] = None,
    iou: Annotated[float | None, typer.Option(help="boxes: the least IoU of a match; default: 0.5")] = None,
    aliases: Annotated[
        str | None, typer.Option(help="boxes: JSON file of label names to the names they stand for")
    ] = None,
    json_: Json = False,
) -> None:
    """Compare annotations with ground truth: precision, recall, F1, AP, CER and WER, with 95% confidence intervals."""
    from pipelines.evaluate.run import IOU, evaluate_boxes, evaluate_ocr
    from pipelines.terminal.tables import print_evaluation

    if what not in ("boxes", "ocr"):
        raise UsageError(f"{what!r} can't be evaluated: use boxes or ocr")
    if what == "ocr" and (iou is not None or aliases is not None):
        raise UsageError("--iou and --aliases are for boxes, not for ocr")
    with report_activity(f"evaluate: comparing {annotations} with {truth}"):
        if what == "boxes":
            found = evaluate_boxes(annotations, truth, index, IOU if iou is None else iou, aliases)
        else:
            found = evaluate_ocr(annotations, truth, index)
    if json_:
        print_json(found.to_dict())
        return
    print_evaluation(found.to_dict())
