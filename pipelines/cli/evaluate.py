"""Implements `shardloom evaluate`."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipelines.cli.flags import Json
from schemas.activity import report_activity
from schemas.errors import UsageError
from schemas.extras import require_extra
from schemas.storage.folder import Folder
from schemas.terminal import print_json

KINDS = ("boxes", "ocr", "captions", "model")

FLAGS = {  # those that are not for all kinds, with the kinds that they are for
    ("truth", "index"): ("boxes", "ocr"),
    ("iou", "aliases"): ("boxes",),
    ("caption_from", "caption_column", "caption_name"): ("captions",),
    ("task", "output", "from_rows", "against", "batch_size", "device", "leaks"): ("model",),
}


def evaluate(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="boxes, ocr, captions or model")],
    folder: Annotated[
        str | None,
        typer.Argument(
            help="the annotation set's folder; model: a run, an export or a checkpoint; not with --from-rows"
        ),
    ] = None,
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
    task: Annotated[list[str] | None, typer.Option("--task", "-t", help="model: a task file; may be repeated")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="model: a new folder for the predictions and the scores")
    ] = None,
    from_rows: Annotated[
        str | None, typer.Option(help="model: compute the scores again from the predictions in this folder")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="model: compare in pairs with another model's predictions, in this folder")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="model: questions per batch; default: 8")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="model: auto: cuda if available, with bf16 weights")
    ] = None,
    leaks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="model: look for the questions in this set of training shards; may be repeated"
        ),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="exit 1 if this score, named as in --json, is worse; may be repeated"),
    ] = None,
    json_: Json = False,
) -> None:
    """Score annotations against a truth, captions against annotations, or a model on tasks, with 95% intervals.

    boxes and ocr: precision, recall, F1, AP, CER and WER. captions: how much of what they claim the annotations support
    or contradict. model: the metrics of the tasks' files, zero-shot and few-shot.
    """
    if what not in KINDS:
        raise UsageError(f"{what!r} can't be evaluated: use boxes, ocr, captions or model")
    _refuse_other_flags(what, context.params)
    is_first = os.environ.get("RANK", "0") == "0"  # of the ranks of torchrun, the one that prints
    if what == "model":
        words = "evaluate: loading PyTorch" if from_rows is None else f"evaluate: reading {from_rows}"
        with report_activity(words) if is_first else contextlib.nullcontext():
            found = _evaluate_model(folder, task or [], output, from_rows, against, batch_size, device, leaks or [])
        if not is_first:
            return
    elif folder is None:
        raise UsageError(f"evaluate {what}: pass the folder of an annotation set")
    elif what == "captions":
        found = _evaluate_captions(folder, caption_from, caption_column, caption_name)
    elif truth is None:
        raise UsageError(f"evaluate {what}: pass --truth, a JSONL file of the ground truth")
    else:
        found = _evaluate_annotations(what, folder, truth, index, iou, aliases)
    if json_:
        print_json(found)
    else:
        _print(found)
    if fail_under:
        from pipelines.evaluate.thresholds import check_limits

        check_limits(fail_under, found)


def _refuse_other_flags(what: str, given: Mapping[str, Any]) -> None:
    """Raises `UsageError` for a flag of another kind of evaluation."""
    for names, kinds in FLAGS.items():
        if what not in kinds and any(given.get(name) not in (None, [], ()) for name in names):
            flags = [f"--{name.replace('_', '-')}" for name in names]
            raise UsageError(f"{_join(flags)} are for {_join(kinds)}, not for {what}")


def _join(names: Sequence[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _print(found: dict[str, Any]) -> None:
    from pipelines.terminal.faithfulness import print_faithfulness
    from pipelines.terminal.model_scores import print_model_scores
    from pipelines.terminal.tables import print_evaluation

    show = {"captions": print_faithfulness, "model": print_model_scores}.get(found["what"], print_evaluation)
    show(found)


def _evaluate_annotations(
    what: str, folder: str, truth: str, index: str | None, iou: float | None, aliases: str | None
) -> dict[str, Any]:
    from pipelines.evaluate.run import IOU, evaluate_boxes, evaluate_ocr
    from pipelines.output.scores import record_scores

    with report_activity(f"evaluate: comparing {folder} with {truth}"):
        if what == "boxes":
            found = evaluate_boxes(folder, truth, index, IOU if iou is None else iou, aliases).to_dict()
        else:
            found = evaluate_ocr(folder, truth, index).to_dict()
    record_scores(Folder(folder), found)
    return found


def _evaluate_captions(
    folder: str, caption_from: str | None, caption_column: str | None, caption_name: str | None
) -> dict[str, Any]:
    from pipelines.evaluate.captions import evaluate_captions
    from pipelines.output.scores import record_scores

    with report_activity(f"evaluate: checking captions against {folder}"):
        found = evaluate_captions(folder, caption_from, caption_column, caption_name).to_dict()
    if caption_from is None:  # else they are of captions that the set does not hold
        record_scores(Folder(folder), found)
    return found


def _evaluate_model(
    folder: str | None,
    tasks: list[str],
    output: str | None,
    from_rows: str | None,
    against: str | None,
    batch_size: int | None,
    device: Literal["auto", "cpu", "cuda"] | None,
    leaks: list[str],
) -> dict[str, Any]:
    from pipelines.evaluate.model_scores import read_all_predictions, score_predictions, write_scores

    if from_rows is not None:
        if folder is not None or tasks or output is not None or (batch_size, device) != (None, None):
            raise UsageError("--from-rows scores predictions that are there: pass no model, task or output with it")
        predictions = read_all_predictions(from_rows)
        if leaks:
            from pipelines.evaluate.leaks_of_rows import add_leaks

            predictions = add_leaks(predictions, leaks)
        others = None if against is None else read_all_predictions(against)
        return score_predictions(predictions, others).to_dict()
    require_extra("train", "evaluate model")
    if folder is None or not Path(folder).is_dir():
        raise UsageError(f"evaluate model: no folder {folder or ''}: pass a run, an export or a checkpoint")
    if not tasks or output is None:
        raise UsageError("evaluate model: pass --task, a task file, and --output, a new folder for the predictions")
    others = None if against is None else read_all_predictions(against)
    from pipelines.evaluate.model import BATCH_SIZE, evaluate_model
    from schemas.output_set.report import write_report
    from schemas.storage.folder import Folder

    predictions = evaluate_model(folder, tasks, output, batch_size or BATCH_SIZE, device or "auto", leaks)
    found = score_predictions(predictions, others)
    if predictions:  # not on the other ranks of torchrun
        write_scores(output, found)
        write_report(Folder(output))
    return found.to_dict()
