"""Looks for names in pictures with the authors' package, in the environment that has it.

    python find_with_package.py JOB.json

The job holds settings, names and the path of an .npz; what every query finds goes to standard output as JSON.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from curation.engines.boxes.groundingdino_py import GroundingDinoPy, GroundingDinoPySettings
from schemas.errors import UsageError

if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        engine = GroundingDinoPy(GroundingDinoPySettings.model_validate(job["settings"]))
    except UsageError as error:
        sys.exit(str(error))
    held = np.load(job["pictures"])
    pictures = [held[name] for name in sorted(held.files, key=int)]
    alone = [engine.annotate([picture], [names])[0] for picture, names in zip(pictures, job["names"], strict=True)]
    print(
        json.dumps(
            {
                "fingerprint": engine.fingerprint.model_dump(),
                "found": [[dataclasses.asdict(one) for one in found] for found in alone],
                "same": engine.annotate(pictures, job["names"]) == alone,
            }
        )
    )
