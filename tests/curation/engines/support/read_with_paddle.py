"""Reads the pictures of a file with PaddleOCR, in the environment that has it: python read_with_paddle.py JOB.json

The job holds settings and the path of an .npz; what is found goes to standard output as JSON.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from curation.engines.ocr.paddleocr import PaddleOcr, PaddleOcrSettings

if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    pictures = np.load(job["pictures"])
    engine = PaddleOcr(PaddleOcrSettings.model_validate(job["settings"]))
    found = [engine.annotate([pictures[name]])[0] for name in sorted(pictures.files, key=int)]
    together = engine.annotate([pictures[name] for name in sorted(pictures.files, key=int)])
    lines = [[dataclasses.asdict(line) for line in lines] for lines in found]
    print(json.dumps({"fingerprint": engine.fingerprint.model_dump(), "lines": lines, "same": found == together}))
