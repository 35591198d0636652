"""Traces a sample that `ingest` made to the file and the row of the published set."""

import hashlib
import itertools
import re

from pipelines.explain.origin import ImageBytes, Step
from pipelines.explain.trace import Trace
from pipelines.view.source import SetSource
from schemas.layouts.datacomp import IMAGE_EXTENSIONS
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import split_path
from schemas.tar.reader import TarReader

SOURCE = "source"
_ROWS = re.compile(r"#rows=(\d+)-\d+\Z")  # of the label of a part of a file (`pipelines.inputs.source_files`)


def trace_source(source: SetSource, name: str, key: str, trace: Trace) -> None:
    """Adds the file that the sample with this key was ingested from, and its row there.

    A key is the unit's name and the number of the row in the unit, whether earlier rows were kept or not.
    """
    unit = get_unit_name(source.kind, name)
    recorded = source.manifests[name].inputs[0]
    part = _ROWS.search(recorded.path)
    row = int(key[len(unit) :]) + (int(part[1]) if part else 0)
    path = trace.inputs.resolve(SOURCE, _ROWS.sub("", recorded.path))
    facts = [(f"sha256 of {'these rows' if part else 'the file'}", recorded.sha256)]
    folder, file = split_path(path)
    if not folder.exists(file):
        trace.notes.append(f"the source file {path} is not there now: pass --set {SOURCE}=FILE")
    elif path.endswith(".tar"):
        _add_tar_sample(trace, path, row, facts)
        return
    elif part is None and folder.get_size(file) != recorded.size:
        trace.notes.append(f"{path} has changed since it was ingested: its row may be another one")
    trace.steps.append(Step(SOURCE, path, f"row {row}", tuple(facts)))


def _add_tar_sample(trace: Trace, path: str, row: int, facts: list[tuple[str, str]]) -> None:
    """Adds the sample of a tar, all of whose samples count."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        sample = next(itertools.islice(TarReader(file, hashing=False), row, None), None)
    if sample is None:
        trace.notes.append(f"{path} has no sample {row} now: it has changed since it was ingested")
        trace.steps.append(Step(SOURCE, path, f"sample {row}", tuple(facts)))
        return
    members = [one for ending, one in sample.members.items() if ending in IMAGE_EXTENSIONS]
    image = None
    if len(members) == 1:
        sha256 = hashlib.sha256(members[0].data).hexdigest()
        image = ImageBytes(path, members[0].name, members[0].offset, len(members[0].data), sha256)
    offset = ("offset of the sample", sample.start)
    trace.steps.append(Step(SOURCE, path, f"sample {row}, {sample.key}", (*facts, offset), image))
