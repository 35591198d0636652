"""Lets a trained model answer the questions of task files, and keeps all predictions: `shardloom evaluate model`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from curation.tasks.predictions import Prediction, Predictions, encode_predictions
from curation.tasks.task_file import load_tasks
from pipelines.evaluate.leaks import FoundLeaks, find_leaks
from pipelines.evaluate.model_scores import QUARANTINE, ROWS
from pipelines.evaluate.open_task import OpenTask, open_task
from pipelines.output.writer import encode_parquet
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.records.quarantine import QUARANTINE_SCHEMA, QuarantinedRow, make_quarantine_table
from schemas.storage.folder import Folder
from training.checkpoint_model import LoadedModel, load_model
from training.evaluation.model_folder import find_model_folder
from training.evaluation.predict import Predictor
from training.inference import Device, move_to_device, resolve_device

BATCH_SIZE = 8  # questions that are answered together


def evaluate_model(
    model: str,
    tasks: Sequence[str],
    output: str,
    batch_size: int = BATCH_SIZE,
    device: Device = "auto",
    leaks: Sequence[str] = (),
) -> list[Predictions]:
    """Answers the questions of all tasks with each number of demonstrations, and writes the predictions.

    `tasks` are task files and lists of such. All are read before the model is loaded, and their questions are looked
    for in the training sets `leaks`. Raises `UsageError` for a wrong task or set, a model that is none, and an output
    folder that holds predictions already.
    """
    opened = [open_task(task) for path in tasks for task in load_tasks(path)]
    names = Counter(task.options.name for task in opened)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise UsageError(f"--task: two tasks have the name {repeated[0]}: set another in one of the files")
    folder = Folder(output)
    folder.check_output()
    if folder.list_files(ROWS):
        raise UsageError(f"--output: {output} holds predictions already; pass a new folder")
    place = find_model_folder(model)
    target = resolve_device(device)
    found: Sequence[FoundLeaks | None] = find_leaks(opened, leaks) if leaks else [None] * len(opened)
    loaded = load_model(place)
    move_to_device(loaded.model, target)
    return [
        answer_task(loaded, task, shots, model, batch_size, folder, of_task)
        for task, of_task in zip(opened, found, strict=True)
        for shots in task.options.shots
    ]


def answer_task(
    loaded: LoadedModel,
    task: OpenTask,
    shots: int,
    model: str,
    batch_size: int,
    output: Folder,
    leaks: FoundLeaks | None = None,
) -> Predictions:
    """Answers the questions of a task with this number of demonstrations, and writes predictions and quarantine."""
    options = task.options
    predictor = Predictor(loaded, options, task.images, task.demonstrations)
    rows: list[Prediction] = []
    left_out: list[QuarantinedRow] = [*task.found.quarantined]
    with Progress(f"evaluate {options.name}, {shots} shots", len(task.questions), "questions") as progress:
        for one in predictor.predict(task.questions, shots, batch_size):
            if isinstance(one, Prediction):
                rows.append(one if leaks is None else replace(one, leaks=tuple(leaks.questions[one.id])))
            else:
                left_out.append(one)
            progress.items += 1
            progress.advance(1)
    if lost := predictor.lost_demonstrations:
        LOG.warning(f"evaluate {options.name}: {len(lost):,} demonstrations have unusable images: others were drawn")
    found = Predictions(
        task=options.name,
        shots=shots,
        metric=options.metric,
        about={
            "model": model,
            "options": options.model_dump(mode="json"),
            "leaks": None if leaks is None else leaks.about,
        },
        rows=rows,
        reasons=dict(sorted(Counter(row.reason for row in left_out).items())),
    )
    table = make_quarantine_table(left_out)
    output.write(f"{QUARANTINE}/{found.name}.parquet", encode_parquet([table], QUARANTINE_SCHEMA))
    output.write(f"{ROWS}/{found.name}.parquet", encode_predictions(found))  # also if the judge then fails
    if task.judge is not None:
        found = replace(found, rows=task.judge.judge(rows))
        output.write(f"{ROWS}/{found.name}.parquet", encode_predictions(found))
    return found
