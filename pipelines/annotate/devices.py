"""Checks that engines on GPUs get GPUs, before Ray is started. Needs no Ray.

By convention an engine's setting `device` begins with `cuda` where it needs one. `auto` needs none.
"""

from collections.abc import Collection

from curation.engines.stages import StageName
from pipelines.cluster.machine import count_gpus
from pipelines.cluster.runner import Runner
from pipelines.engines.loader import find_device
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import UsageError


def check_devices(recipe: AnnotateRecipe, runner: Runner, reused: Collection[StageName] = ()) -> None:
    """Raises `UsageError` for an engine on a GPU whose workers get none, or not as many as its number asks for.

    The capacity of an external cluster is checked when the run connects to it.
    """
    for stage, options in recipe.stages.items():
        device = None if stage in reused else find_device(stage, options)
        if device is None or not device.startswith("cuda"):
            continue
        where, gpus = f"engines.{stage}.settings.device is {device}", recipe.find_resources(stage).gpus
        if not gpus:
            raise UsageError(
                f"{where}, and no worker gets a GPU: set run.resources.{stage}.gpus, to 0.25 for four workers a GPU"
            )
        if int(device.partition(":")[2] or 0) >= max(1, gpus):
            raise UsageError(
                f"{where}, and each worker sees only the {gpus:g} GPUs of run.resources.{stage}.gpus, counted from 0: "
                "set device to cuda; Ray chooses the GPU"
            )
        if not runner.uses_external_cluster and not count_gpus():
            raise UsageError(
                f"{where}, and NVIDIA's driver shows no GPU on this machine: set it to cpu, or run on a cluster by "
                "run.address"
            )
