"""Tests of the rows that a command leaves out."""

from schemas.records.quarantine import QuarantinedRow, Reason, Rejected


def test_a_stored_detail_holds_no_secret() -> None:
    fault = Rejected(Reason.LOST_IMAGE, "no image http://user:hunter2@host/a.jpg?sig=x of \ud83d")
    found = QuarantinedRow.from_rejected("k", "u", "ingest", fault)
    assert found == QuarantinedRow("k", "u", "ingest", "lost_image", "no image http://***@host/a.jpg?*** of ?")
