"""`shardloom verify`."""

import json
import sys
from typing import Annotated

import typer

from pipelines.cli.flags import Json
from schemas.errors import ShardloomError
from schemas.masking import masked
from schemas.terminal import visible


def verify(output: Annotated[str, typer.Argument(help="an output set's folder")], json_: Json = False) -> None:
    """Check every byte, count and offset of an output set. Exits 1 and names the files when one is not as committed."""
    from pipelines.verify.run import verify as run

    outputs, found = run(output)
    faults = [masked(fault) for fault in found]
    if json_:
        print(json.dumps({"outputs": outputs, "faults": faults}))
    for fault in faults:
        print(visible(fault), file=sys.stderr)
    if faults:
        raise ShardloomError(f"{output}: {len(faults)} faults in {outputs} outputs")
    if not json_:
        print(f"{masked(output)}: {outputs} outputs are as they were committed")
