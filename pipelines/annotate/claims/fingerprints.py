"""Lets runs that share a new output set agree on the engines that make it, before there is a part that names them."""

from curation.engines.kinds import EngineKind
from schemas.output_set.layout import PARTS
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import AlreadyWritten, Folder


def agree_on_fingerprint(output: Folder, kind: EngineKind, own: EngineFingerprint) -> EngineFingerprint:
    """Returns the fingerprint of the set's engine of this kind, which is that of the first worker that has asked."""
    name = f"{PARTS}/engines/{kind}.json"
    if not output.exists(name):
        try:
            output.write_new(name, own.model_dump_json().encode())
        except AlreadyWritten:
            pass
        else:
            return own
    return EngineFingerprint.model_validate_json(output.read(name))
