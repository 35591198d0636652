"""Checks that output sets account for each row: rows in = rows out + quarantined + left out by the recipe.

Manifests check this themselves. Here it is asserted once more, from their plain fields, for whatever runs in a test.
"""

from collections.abc import Iterable

from pipelines.output.totals import Totals, add_up_manifests
from schemas.output_set.layout import DATA, QUARANTINE
from schemas.output_set.manifest import Manifest


def add_up_and_account(manifests: Iterable[Manifest]) -> Totals:
    """Replaces `add_up_manifests` in `run_job`: returns the same, and checks the account of each output and of all."""
    held = list(manifests)
    for manifest in held:
        account_for_rows(manifest)
    totals = add_up_manifests(held)
    quarantined = sum(totals.reasons.values())
    assert totals.rows_in == totals.rows_out + quarantined + sum(totals.left_out.values()), totals
    assert totals.quarantined == quarantined, totals
    return totals


def account_for_rows(manifest: Manifest) -> None:
    """Asserts that rows in are those in the data and those left out, and that the files have as many."""
    quarantined = sum(manifest.reasons.values())
    assert manifest.rows_in == manifest.rows_out + quarantined + sum(manifest.left_out.values()), manifest
    assert all(count >= 0 for count in manifest.reasons.values()), manifest
    data = [out.rows for out in manifest.outputs if out.path.startswith(f"{DATA}/")]
    assert data[:1] == [manifest.rows_out] or (data, manifest.rows_out) == ([], 0), manifest
    written = sum(out.rows for out in manifest.outputs if out.path.startswith(f"{QUARANTINE}/"))
    assert written <= quarantined, manifest  # `select` only counts the rows that a rule drops
