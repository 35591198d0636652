"""Keeps in a set what evaluations of it have found, beside the state that they were of."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from schemas.errors import StorageError
from schemas.log import LOG
from schemas.output_set.layout import MAX_MANIFEST, read_manifests
from schemas.output_set.manifest import Manifest, seal, unseal
from schemas.storage.folder import Folder

EVALUATIONS = "evaluations"
"""The sub-folder with one file for each kind of evaluation. No manifest lists them."""


def record_scores(output: Folder, found: Mapping[str, Any]) -> None:
    """Keeps the result of an evaluation, `found["what"]`. Only says so where the set cannot be written to."""
    state = describe_state(read_manifests(output))
    try:
        output.write(f"{EVALUATIONS}/{found['what']}.json", seal({"state": state, "found": dict(found)}))
    except StorageError as error:
        LOG.info(f"the scores are not kept for the set's card: {error}")


def read_scores(output: Folder, manifests: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """Returns the results of evaluations of the set as it is now, by kind."""
    state, scores = describe_state(manifests), []
    for name in output.list_files(EVALUATIONS):
        try:
            held = unseal(output.read_inside(f"{EVALUATIONS}/{name}", MAX_MANIFEST))
        except (ValueError, StorageError):
            continue  # another program's file, or a damaged one: the evaluation can be run again
        if held.get("state") == state:
            scores.append(held["found"])
    return scores


def describe_state(manifests: Mapping[str, Manifest]) -> str:
    """Returns a hash of what a set holds: equal as long as no output of it changes."""
    files = sorted((out.path, out.sha256) for manifest in manifests.values() for out in manifest.outputs)
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()
