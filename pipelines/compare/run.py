"""Runs a comparison: plans and checks it, then trains and evaluates what is not finished, and scores the models."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from curation.tasks.task_file import load_tasks
from pipelines.compare.budget import (
    Budget,
    Equal,
    check_equal_budgets,
    compute_budget,
    find_order_difference,
    find_steps,
)
from pipelines.compare.design import (
    FIRST,
    NULL,
    SECOND,
    Arm,
    Training,
    check_overrides,
    check_recipes_differ,
    list_trainings,
)
from pipelines.compare.folder import (
    RESULT_FILE,
    check_design,
    list_unanswered,
    mark_finished,
    read_finished,
    write_design,
)
from pipelines.compare.scores import Comparison, score_comparison
from pipelines.compare.task_fit import check_tasks_fit
from pipelines.compare.training import name_training, train_model
from pipelines.evaluate.model import BATCH_SIZE, answer_task
from pipelines.evaluate.open_task import OpenTask, open_task
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder
from schemas.terminal import format_duration
from training.checkpoint_model import load_model
from training.inference import Device, move_to_device, resolve_device
from training.parallel import Ranks
from training.recipe import load_train_recipe
from training.set_up import MODEL_FOLDER


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Holds what a comparison is asked for, as the command line has it."""

    first: str  # the file of a recipe
    second: str
    output: str
    tasks: Sequence[str]  # task files
    overrides: Sequence[str] = ()  # of both recipes, `key=value`
    seeds: int = 3
    first_seed: int = 0
    null: bool = False
    equal: Equal = "positions"
    ranks: int = 1  # that each training runs on
    batch_size: int = BATCH_SIZE
    device: Device = "auto"


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """Holds a comparison that has been checked."""

    options: CompareOptions
    arms: list[Arm]
    tasks: list[OpenTask]
    trainings: list[Training]
    steps: list[int]  # of each training
    budgets: dict[str, Budget]  # of the two recipes
    order_difference: str | None  # why the two do not show the same samples in the same order

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as plain data."""
        return {
            "what": "comparison plan",
            "recipes": {arm.name: arm.path for arm in self.arms},
            "steps": {name: budget.steps for name, budget in self.budgets.items()},
            "samples": {name: budget.samples for name, budget in self.budgets.items()},
            "equal": self.options.equal,
            "positions": self.budgets[FIRST].positions,
            "positions_by_arm": self.find_unequal_positions(),
            "order_difference": self.order_difference,
            "trainings": [
                {"arm": one.arm, "seed": one.seed, "is_finished": read_finished(one) is not None}
                for one in self.trainings
            ],
            "tasks": [
                {"name": task.options.name, "questions": len(task.questions), "shots": task.options.shots}
                for task in self.tasks
            ],
        }

    def find_unequal_positions(self) -> dict[str, int]:
        """Returns the positions that each recipe's trainings take; nothing where they are equal."""
        found = {name: budget.positions for name, budget in self.budgets.items()}
        return found if len(set(found.values())) > 1 else {}


def plan_comparison(options: CompareOptions) -> ComparisonPlan:
    """Plans a comparison and checks all that it names, without training.

    Raises `UsageError` for recipes with unequal budgets or missing sets, unusable tasks, and a folder that holds
    another comparison.
    """
    if options.seeds < 2:
        raise UsageError(f"--seeds {options.seeds}: an interval needs at least 2 seeds")
    tasks = [open_task(task) for path in options.tasks for task in load_tasks(path)]
    names = Counter(task.options.name for task in tasks)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise UsageError(f"--task: two tasks have the name {repeated[0]}: set another in one of the files")
    paths = {FIRST: options.first, SECOND: options.second} | ({NULL: options.first} if options.null else {})
    overrides = tuple(options.overrides)
    check_overrides(overrides)
    arms = [Arm(name, path, load_train_recipe(path, [*overrides]), overrides) for name, path in paths.items()]
    check_recipes_differ(arms[0], arms[1])
    output = Folder(options.output)
    if not output.is_local:
        raise UsageError(f"--output {options.output}: trainings need a folder on a disk, not at a URL")
    output.check_output()
    check_design(output, arms, [task.options for task in tasks])
    budgets = {arm.name: compute_budget(arm, options.first_seed, options.ranks) for arm in arms[:2]}
    check_equal_budgets((arms[0], budgets[FIRST]), (arms[1], budgets[SECOND]), options.equal)
    check_tasks_fit(arms[:2], tasks)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    trainings = list_trainings(arms, seeds, options.output)
    return ComparisonPlan(
        options=options,
        arms=arms,
        tasks=tasks,
        trainings=trainings,
        steps=find_steps(arms, trainings, budgets, options.equal, options.ranks),
        budgets=budgets,
        order_difference=find_order_difference(budgets[FIRST].plan, budgets[SECOND].plan),
    )


def compare(plan: ComparisonPlan) -> Comparison:
    """Trains and evaluates what is not finished, writes the scores and returns them."""
    output, options = Folder(plan.options.output), [task.options for task in plan.tasks]
    with lock_output(output, "compare"):
        check_design(output, plan.arms, options)  # another call may have begun a comparison meanwhile
        write_design(output, plan.arms, options)
        _run_all(plan)
        found = score_comparison(
            {arm.name: arm.path for arm in plan.arms},
            plan.trainings,
            plan.tasks,
            plan.budgets[FIRST].positions,
            plan.order_difference,
            plan.options.equal,
            plan.find_unequal_positions(),
        )
        output.write(RESULT_FILE, found.to_json())
    return found


@dataclass(slots=True)
class Pace:
    """Estimates the time left from how long trainings and evaluations took."""

    training: list[float] = field(default_factory=list)  # seconds
    evaluation: list[float] = field(default_factory=list)

    def describe_left(self, trainings: int, evaluations: int) -> str:
        """Describes the time left for so many of each; empty before anything like it has been measured.

        Before the first evaluation has ended, it is that of the trainings alone.
        """
        if not (self.training if trainings else self.evaluation):
            return ""
        seconds = trainings * fmean(self.training or [0]) + evaluations * fmean(self.evaluation or [0])
        return f"; about {format_duration(seconds)} left"


def _run_all(plan: ComparisonPlan) -> None:
    finished = {one.folder: read_finished(one) for one in plan.trainings}
    pace = Pace([one.seconds for one in finished.values() if one is not None])
    to_train = sum(one is None for one in finished.values())
    to_evaluate = sum(bool(list_unanswered(one, plan.tasks)) for one in plan.trainings)
    for number, training in enumerate(plan.trainings, 1):
        place = f"{number} of {len(plan.trainings)}"
        if finished[training.folder] is None:
            LOG.info(f"compare: training {place}, {training.title}{pace.describe_left(to_train, to_evaluate)}")
            found = train_model(training, plan.steps[number - 1], plan.options.ranks)
            mark_finished(training, found)
            pace.training.append(found.seconds)
            to_train -= 1
        if unanswered := list_unanswered(training, plan.tasks):
            LOG.info(f"compare: evaluating {place}, {training.title}{pace.describe_left(to_train, to_evaluate)}")
            with name_training(training):
                pace.evaluation.append(_evaluate(training, unanswered, plan.options))
            to_evaluate -= 1


def _evaluate(training: Training, unanswered: list[tuple[OpenTask, int]], options: CompareOptions) -> float:
    """Lets a trained model answer the tasks that it has not answered; returns the seconds that it took."""
    started = time.monotonic()
    folder = training.run_folder / MODEL_FOLDER
    loaded, alone = load_model(folder), Ranks()
    move_to_device(loaded.model, resolve_device(options.device))
    for task, shots in unanswered:
        answer_task(loaded, task, shots, str(folder), options.batch_size, Folder(str(training.folder)), alone)
    return time.monotonic() - started
