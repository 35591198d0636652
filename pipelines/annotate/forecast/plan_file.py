"""Keeps a forecast in a folder beside the output, and what the run took with it.

It is beside the output and not in it: a folder with other files is no place for a new set, and `verify` is about sets.
"""

from typing import Any

from pipelines.annotate.forecast.forecast import Forecast
from pipelines.output.totals import read_times
from schemas.errors import StorageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal, unseal
from schemas.storage.folder import Folder

PLAN_FILE, PROBE = "plan.json", "probe"
MAX_PLAN = 1 << 20  # bytes; one of ten stages has five thousand


def open_plan_folder(output: str) -> Folder:
    """Returns the folder of the plan of a run into this output."""
    return Folder(f"{output.rstrip('/')}.plan")


def write_plan(output: str, forecast: Forecast) -> str:
    """Keeps a forecast in place of an earlier one. Returns its path."""
    folder = open_plan_folder(output)
    folder.write(PLAN_FILE, seal(forecast.to_dict()))
    return folder.resolve_path(PLAN_FILE)


def read_plan(output: str) -> dict[str, Any] | None:
    """Returns the forecast of a run into this output, as plain data; None if there is none, or it was changed."""
    folder = open_plan_folder(output)
    try:
        return unseal(folder.read_inside(PLAN_FILE, MAX_PLAN)) if folder.exists(PLAN_FILE) else None
    except (StorageError, ValueError):
        return None


def reconcile(output: str) -> list[str]:
    """Returns lines that set the forecast of a run beside what came, and keeps what came with it.

    What came is the sum of all runs into the output. Returns nothing without a forecast of the same recipe.
    """
    plan, folder = read_plan(output), Folder(output)
    made = {manifest.recipe_sha256 for manifest in read_manifests(folder).values()}
    times = read_times(folder)
    rows = sum(times.rows.values())
    if plan is None or made != {plan["recipe_sha256"]} or not rows:
        return []
    actual: dict[str, Any] = {"images": rows, "seconds": times.seconds, "stages": {}}
    stages = {stage["stage"]: stage["images_per_second"] for stage in plan["stages"]}
    for stage, counts in times.stages.items():
        if stage in stages and counts["working_seconds"]:
            actual["stages"][stage] = counts["images"] / counts["working_seconds"]
    open_plan_folder(output).write(PLAN_FILE, seal(plan | {"actual": actual}))
    return [_compare_time(plan, actual), *_compare_rates(stages, actual["stages"], plan["slowest"])]


def _compare_time(plan: dict[str, Any], actual: dict[str, Any]) -> str:
    planned, took = plan["seconds"], actual["seconds"]
    where = "inside" if planned["low"] <= took <= planned["high"] else "outside"
    line = f"plan: {format_seconds(planned)} for {plan['images']:,} images; took {took:,.0f} s for {actual['images']:,}"
    if plan["images"] != actual["images"]:
        return line
    return f"{line}, {took / planned['value'] - 1:+.0%}, {where} the interval"


def _compare_rates(planned: dict[str, Any], actual: dict[str, float], slowest: list[str]) -> list[str]:
    rates = [
        f"{stage} {found:.2f}" + (f" of {planned[stage]['value']:.2f}" if stage in slowest else "")
        for stage, found in actual.items()
    ]
    return [f"images/s: {', '.join(rates)} planned"] if rates else []


def format_seconds(interval: dict[str, float]) -> str:
    """Returns an interval of seconds in words: `80 s (70 to 95)`, or hours if it has several."""
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value < 2 * 3600:
        return f"{value:,.0f} s ({low:,.0f} to {high:,.0f})"
    return f"{value / 3600:,.1f} hours ({low / 3600:,.1f} to {high / 3600:,.1f})"
