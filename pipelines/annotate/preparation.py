"""Prepares what all workers of an engine share, such as an embedded vocabulary, once a run in a separate Ray task."""

import functools
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from pipelines.annotate.graph_watch import TICK_SECONDS
from pipelines.annotate.pools import Pool
from pipelines.cluster.map_units import is_any_running, run_marked
from pipelines.engines.loader import needs_preparing, prepare_engine
from pipelines.recipes.annotate import AnnotateRecipe, PoolName
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError


class Preparation:
    """Starts a task for each engine that needs one, with the resources and the placement of a worker of its pool."""

    def __init__(
        self, recipe: AnnotateRecipe, pools: Sequence[Pool], placements: Mapping[PoolName, dict[str, Any]]
    ) -> None:
        self.recipe, self.mark = recipe, uuid.uuid4().hex
        self.tasks = {pool.name: self._start_task(pool, placements[pool.name]) for pool in pools}

    def _start_task(self, pool: Pool, placement: dict[str, Any]) -> ray.ObjectRef | None:
        request = pool.request
        if pool.engine is None or pool.options is None or not needs_preparing(pool.engine, pool.options):
            return None
        task = ray.remote(num_cpus=request.cpus, num_gpus=request.gpus, **placement)(run_marked)
        work = functools.partial(prepare_engine, pool.engine, trusted=pool.trusted, gpus=request.gpus)
        return task.remote(work, f"{self.mark}-{pool.name}", pool.options)

    def wait(self, progress: Progress) -> None:
        """Waits for all tasks and shows the progress. It may take minutes, in which no worker sends a heartbeat.

        Raises `ShardloomError` when a task has not started within `run.stall_seconds`.
        """
        timeout = self.recipe.run.stall_seconds
        for name, task in self.tasks.items():
            since = time.monotonic()
            while task is not None and not ray.wait([task], timeout=TICK_SECONDS)[0]:
                progress.show(0, f"preparing {name}")
                if time.monotonic() - since > timeout and not is_any_running([f"{self.mark}-{name}"]):
                    raise ShardloomError(
                        f"no progress for {timeout:g} s: no node has the CPUs or GPUs free that {name} needs to "
                        "prepare its engine; the same command resumes the run"
                    )
