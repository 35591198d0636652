"""Lets a trained model answer the questions of task files, and keeps all predictions: `shardloom evaluate model`.

Under torchrun each rank answers a share of the batches, and the first writes what a single process would write: the
batches are the same, and so are their answers.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from curation.scores.answers.registry import METRICS
from curation.tasks.predictions import Prediction, Predictions, encode_predictions
from curation.tasks.question import Question
from curation.tasks.task_file import load_tasks
from pipelines.evaluate.leaks import ComparedTask, FoundLeaks, find_leaks
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
from training.parallel import Ranks, init_distributed
from training.recipe import TrainRunOptions

BATCH_SIZE = 8  # questions that are answered together
_TIMEOUT_SECONDS = 4 * 3600.0  # that a slow GPU may need longer for its share; torchrun ends all when one has failed

Row = Prediction | QuarantinedRow


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
    for in the training sets `leaks`. Of the ranks that torchrun started, the first returns all predictions and the
    others none. Raises `UsageError` for a wrong task or set, a model that is none, and an output folder that holds
    predictions already.
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
    run = TrainRunOptions(device=target, timeout_seconds=_TIMEOUT_SECONDS)
    with init_distributed(run, "none") as ranks:
        leaked: Sequence[FoundLeaks | None] = [None] * len(opened)
        if leaks and ranks.is_first:
            compared = [ComparedTask(METRICS[one.options.metric], one.questions, one.images) for one in opened]
            leaked = find_leaks(compared, leaks)
        loaded = load_model(place)
        move_to_device(loaded.model, target)
        found = [
            answer_task(loaded, task, shots, model, batch_size, folder, ranks, of_task)
            for task, of_task in zip(opened, leaked, strict=True)
            for shots in task.options.shots
        ]
    return [predictions for predictions in found if predictions is not None]


def answer_task(
    loaded: LoadedModel,
    task: OpenTask,
    shots: int,
    model: str,
    batch_size: int,
    output: Folder,
    ranks: Ranks,
    leaks: FoundLeaks | None = None,
) -> Predictions | None:
    """Answers the questions of a task with this number of demonstrations, and writes predictions and quarantine.

    Each rank answers its share; the first writes all and returns the predictions.
    """
    options = task.options
    predictor = Predictor(loaded, options, task.images, task.demonstrations)
    batches = [task.questions[start : start + batch_size] for start in range(0, len(task.questions), batch_size)]
    own = batches[ranks.rank :: ranks.world_size]
    title = f"evaluate {options.name}, {shots} shots"
    answered = list(_answer_batches(predictor, own, shots, title, shown=ranks.is_first))
    found_by_rank = ranks.gather((answered, predictor.lost_demonstrations), f"the answers of {options.name}")
    if not ranks.is_first:
        return None
    answered_by_rank = [rows for rows, _ in found_by_rank]
    all_rows = chain.from_iterable(chain.from_iterable(zip_longest(*answered_by_rank, fillvalue=())))
    rows: list[Prediction] = []
    left_out: list[QuarantinedRow] = [*task.found.quarantined]
    for one in all_rows:
        if isinstance(one, Prediction):
            rows.append(one if leaks is None else replace(one, leaks=tuple(leaks.questions[one.id])))
        else:
            left_out.append(one)
    if lost := set[str]().union(*(ids for _, ids in found_by_rank)):
        LOG.warning(f"evaluate {options.name}: {len(lost):,} demonstrations have unusable images: others were drawn")
    found = Predictions(
        task=options.name,
        shots=shots,
        metric=options.metric,
        about={
            "model": model,
            "options": options.model_dump(mode="json"),
            "left_out": task.count_left_out(),
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


def _answer_batches(
    predictor: Predictor, batches: Sequence[list[Question]], shots: int, title: str, shown: bool
) -> Iterator[list[Row]]:
    """Yields the rows of each batch, and shows the progress if this rank is the one to show it."""
    with contextlib.ExitStack() as stack:
        total = sum(map(len, batches))
        progress = stack.enter_context(Progress(title, total, "questions")) if shown else None
        for batch in batches:
            yield list(predictor.predict(batch, shots, len(batch)))
            if progress is not None:
                progress.items += len(batch)
                progress.advance(len(batch))
