"""Run by torchrun on two gloo ranks, of which the second does not come: says how the first finds out."""

import sys
import time
from pathlib import Path

from schemas.errors import ShardloomError
from training.parallel import init_distributed
from training.recipe import TrainRunOptions


def main(folder: str) -> None:
    """The first rank waits ten seconds for the second, which has gone to sleep a step before. Ranks start apart."""
    said = Path(folder, "said.txt")
    with init_distributed(TrainRunOptions(timeout_seconds=10), "ddp") as ranks:
        ranks.all_reduce([1.0], "step 1")
        if not ranks.is_first:
            while not said.exists():
                time.sleep(0.05)
            return
        try:
            ranks.all_reduce([1.0], "step 2")
        except ShardloomError as error:
            said.write_text(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
