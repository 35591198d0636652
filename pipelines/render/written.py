"""Takes the captions that models wrote in the pass that annotated the images, and says why others have none."""

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.written.named import take_captions
from curation.engines.stages import make_caption_stage
from pipelines.render.faults import Faults, describe_failure
from schemas.records.quarantine import Reason, Rejected

_REASONS = {"truncated": Reason.CAPTION_TRUNCATED, "refused": Reason.CAPTION_REFUSED}


def take_written(table: pa.Table, name: str) -> tuple[pa.StringArray, Faults]:
    """Returns the text of the caption of this name in each row, and the faults of those without a whole one."""
    captions = take_captions(table["captions"], name)
    faults: Faults = [None] * table.num_rows
    is_whole = pc.fill_null(pc.equal(pc.struct_field(captions, "status"), "ok"), False)
    for row in pc.indices_nonzero(pc.invert(is_whole)).to_pylist():
        faults[row] = _describe_fault(table, row, name, captions[row].as_py())
    return pc.struct_field(captions, "text"), faults


def _describe_fault(table: pa.Table, row: int, name: str, caption: dict[str, str] | None) -> Rejected:
    if caption is None:
        return Rejected(Reason.NO_CAPTION, f"none of the name {name}")
    if caption["status"] in _REASONS:
        return Rejected(_REASONS[caption["status"]], f"{name}: {caption['finish_reason']}")
    return describe_failure(table, row, make_caption_stage(name))
