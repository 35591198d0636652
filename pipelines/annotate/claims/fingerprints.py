"""Keeps an output set to one engine at each stage.

Runs that share a new set agree on its engines before there is a part that names them.
"""

from curation.engines.captions.prompts import FIELDS_VERSION, PromptTemplate
from curation.engines.stages import StageName
from schemas.errors import UsageError
from schemas.output_set.layout import PARTS
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import AlreadyWritten, Folder


def agree_on_fingerprint(output: Folder, stage: StageName, own: EngineFingerprint) -> EngineFingerprint:
    """Returns the fingerprint of the set's engine at this stage, which is that of the first worker that has asked."""
    name = f"{PARTS}/engines/{stage}.json"
    if not output.exists(name):
        try:
            output.write_new(name, own.model_dump_json().encode())
        except AlreadyWritten:
            pass
        else:
            return own
    return EngineFingerprint.model_validate_json(output.read(name))


def add_prompt(fingerprint: EngineFingerprint, prompt: PromptTemplate | None) -> EngineFingerprint:
    """Returns the fingerprint of an engine with that of its prompt, if it has one."""
    if prompt is None:
        return fingerprint
    added = {"prompt_sha256": prompt.sha256, "prompt_fields": FIELDS_VERSION}
    return fingerprint.model_copy(update={"settings": fingerprint.settings | added})


def check_fingerprint(name: str, expected: EngineFingerprint, actual: EngineFingerprint) -> None:
    """Raises `UsageError` when the engine is not the one that the output was started with."""
    if expected == actual:
        return
    was, now = expected.model_dump(), actual.model_dump()
    differing = ", ".join(f"{key} was {was[key]!r}, is {now[key]!r}" for key in was if was[key] != now[key])
    raise UsageError(
        f"the output was started with another {name} engine ({differing}): use that engine, or a new output folder"
    )
