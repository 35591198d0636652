"""Traces a sample that `ingest` made to the file and the row of the published set."""

import hashlib
import itertools
import re

from pipelines.explain.origin import ImageBytes, Step
from pipelines.explain.trace import Trace
from pipelines.view.source import SetSource
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import IMAGE_EXTENSIONS
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import split_path
from schemas.tar.reader import TarReader

SOURCE = "source"
MAX_DIGITS = 12  # of a row's number in its unit, far more than any has
_ROWS = re.compile(r"#rows=(\d+)-\d+\Z")  # of the label of a part of a file (`pipelines.inputs.source_files`)


def trace_source(source: SetSource, name: str, key: str, trace: Trace) -> None:
    """Adds the file that the sample with this key was ingested from, and its row there.

    A key is the unit's name and the number of the row in the unit, whether earlier rows were kept or not.
    """
    recorded = source.manifests[name].inputs[0]
    part = _ROWS.search(recorded.path)
    row = _parse_row(source, name, key) + (int(part[1]) if part else 0)
    path = trace.inputs.resolve(SOURCE, _ROWS.sub("", recorded.path))
    facts = [(f"sha256 of {'these rows' if part else 'the file'}", recorded.sha256)]
    folder, file = split_path(path)
    if not folder.exists(file):
        trace.notes.append(f"the source file {path} is not there now: pass --set {SOURCE}=FILE")
    else:
        if part is None and folder.get_size(file) != recorded.size:
            trace.notes.append(f"{path} has changed since it was ingested: its row may be another one")
        if path.endswith(".tar"):
            _add_tar_sample(trace, path, row, facts)
            return
    trace.steps.append(Step(SOURCE, path, f"row {row}", tuple(facts)))


def _parse_row(source: SetSource, name: str, key: str) -> int:
    """Returns the number of a sample's row in its unit. Raises `ShardloomError` for a key of another form."""
    unit = get_unit_name(source.kind, name)
    number = key.removeprefix(unit)
    if not key.startswith(unit) or not number.isdecimal() or len(number) > MAX_DIGITS:
        raise ShardloomError(f"{source.folder.url}: the key {key!r} does not name a row of its source: verify the set")
    return int(number)


def _add_tar_sample(trace: Trace, path: str, row: int, facts: list[tuple[str, str]]) -> None:
    """Adds the sample of a tar, all of whose samples count, with the member that holds the image."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        sample = next(itertools.islice(TarReader(file, hashing=False), row, None), None)
    if sample is None:
        trace.notes.append(f"{path} has no sample {row} now: it has changed since it was ingested")
        trace.steps.append(Step(SOURCE, path, f"sample {row}", tuple(facts)))
        return
    members = [one for ending, one in sample.members.items() if ending in IMAGE_EXTENSIONS]
    if trace.image is not None and trace.size is not None:  # a captioned image is stored as it was; pages may not be
        members = [one for one in members if one.data == trace.image]
        if not members:
            trace.notes.append(f"{path} has changed since it was ingested: its sample {row} has another image")
    image = None
    if len(members) == 1:
        sha256 = hashlib.sha256(members[0].data).hexdigest()
        image = ImageBytes(path, members[0].name, members[0].offset, len(members[0].data), sha256)
    offset = ("offset of the sample", sample.start)
    trace.steps.append(Step(SOURCE, path, f"sample {row}, {sample.key}", (*facts, offset), image))
