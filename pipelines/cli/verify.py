"""Implements `shardloom verify`."""

from typing import Annotated

import typer

from pipelines.cli.flags import Json, MovedImages
from schemas.activity import report_activity
from schemas.errors import ShardloomError
from schemas.log import LOG
from schemas.storage.folder import Folder
from schemas.terminal import print_json, print_result


def verify(
    output: Annotated[str, typer.Argument(help="an output set's folder")],
    json_: Json = False,
    images: MovedImages = None,
    skip_images: Annotated[
        bool,
        typer.Option("--skip-images", help="of a set by reference: see that the images' tars are there, but read none"),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="remove damaged outputs, so that the command that made the set rebuilds them"),
    ] = False,
) -> None:
    """Check every byte, count and offset of an output set. Exits 1 and names the damaged files if there are any."""
    if repair:
        _repair(output, json_, images or [])
        return
    from pipelines.verify.inspection import inspect

    with report_activity(f"verify: checking every byte of {output}"):
        inspection = inspect(Folder(output), images or [], not skip_images)
    outputs, faults = len(inspection.names), [fault.line for fault in inspection.faults]
    if json_:
        print_json({"outputs": outputs, "faults": faults})
    _print_faults(faults)
    if faults:
        is_damaged = any(fault.output is not None for fault in inspection.faults)
        more = (
            "; --repair removes damaged outputs, so that the command that made the set rebuilds them"
            if is_damaged
            else ""
        )
        raise ShardloomError(f"{output}: faults in {outputs} checked outputs: {len(faults)}{more}")
    if not json_:
        print_result(f"{output}: outputs as they were committed: {outputs} of {outputs}")


def _repair(output: str, json_: bool, images: list[str]) -> None:
    from pipelines.verify.repair import repair

    with report_activity(f"verify: checking every byte of {output}"):
        done = repair(output, images)
    if json_:
        print_json({"outputs": done.outputs, "removed": done.removed, "faults": done.faults})
    _print_faults(done.faults)
    if not json_ and not done.removed and not done.faults:
        print_result(f"{output}: outputs as they were committed: {done.outputs} of {done.outputs}")
    elif not json_ and done.removed:
        again = "run the command that made the set to rebuild them"
        print_result(f"{output}: removed {len(done.removed)} outputs ({', '.join(done.removed)}): {again}")
    if done.faults:
        raise ShardloomError(f"{output}: {len(done.faults)} faults remain that --repair does not fix")


def _print_faults(faults: list[str]) -> None:
    for fault in faults:
        LOG.error(fault)
