"""Implements `shardloom evaluate`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.terminal import print_json


def evaluate(
    what: Annotated[str, typer.Argument(help="boxes, ocr or captions")],
    annotations: Annotated[str, typer.Argument(help="the annotation set's folder")],
    truth: Annotated[str | None, typer.Option(help="boxes, ocr: JSONL file of the ground truth")] = None,
    index: Annotated[str | None, typer.Option(help="JSONL file that gives the uid of each file in the truth")] = None,
    iou: Annotated[float | None, typer.Option(help="boxes: the least IoU of a match; default: 0.5")] = None,
    aliases: Annotated[
        str | None, typer.Option(help="boxes: JSON file of label names to the names they stand for")
    ] = None,
    caption_from: Annotated[
        str | None,
        typer.Option(
            help="captions: Parquet files with captions, as for render; default: the alt texts, and the captions that "
            "models wrote in the same pass"
        ),
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="captions: the column of --caption-from; default: caption, else cogvlm_caption")
    ] = None,
    caption_name: Annotated[
        str | None, typer.Option(help="captions: only this one of the pass, or alt_text; default: all")
    ] = None,
    json_: Json = False,
) -> None:
    """Compare annotations with ground truth, or captions with annotations, with 95% confidence intervals.

    boxes and ocr: precision, recall, F1, AP, CER and WER. captions: how much of what they claim the annotations support
    or contradict.
    """
    if what not in ("boxes", "ocr", "captions"):
        raise UsageError(f"{what!r} can't be evaluated: use boxes, ocr or captions")
    if what == "captions":
        if (truth, index, iou, aliases) != (None,) * 4:
            raise UsageError("--truth, --index, --iou and --aliases are for boxes and ocr, not for captions")
        _evaluate_captions(annotations, caption_from, caption_column, caption_name, json_)
        return
    if (caption_from, caption_column, caption_name) != (None,) * 3:
        raise UsageError(f"--caption-from, --caption-column and --caption-name are for captions, not for {what}")
    if truth is None:
        raise UsageError(f"evaluate {what}: pass --truth, a JSONL file of the ground truth")
    if what == "ocr" and (iou is not None or aliases is not None):
        raise UsageError("--iou and --aliases are for boxes, not for ocr")
    from pipelines.evaluate.run import IOU, evaluate_boxes, evaluate_ocr
    from pipelines.terminal.tables import print_evaluation

    with report_activity(f"evaluate: comparing {annotations} with {truth}"):
        if what == "boxes":
            found = evaluate_boxes(annotations, truth, index, IOU if iou is None else iou, aliases)
        else:
            found = evaluate_ocr(annotations, truth, index)
    if json_:
        print_json(found.to_dict())
        return
    print_evaluation(found.to_dict())


def _evaluate_captions(
    annotations: str, caption_from: str | None, caption_column: str | None, caption_name: str | None, json: bool
) -> None:
    from pipelines.evaluate.captions import evaluate_captions
    from pipelines.terminal.faithfulness import print_faithfulness

    with report_activity(f"evaluate: checking captions against {annotations}"):
        found = evaluate_captions(annotations, caption_from, caption_column, caption_name)
    if json:
        print_json(found.to_dict())
        return
    print_faithfulness(found.to_dict())
