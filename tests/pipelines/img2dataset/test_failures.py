"""Failures are told apart by kind, and those that may pass from those that won't."""

import pytest

from pipelines.img2dataset.failures import classify_failure, is_transient


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("failed_to_resize", "Image decoding error", "not_an_image"),
        ("failed_to_resize", "(-215:Assertion failed) pixels <= CV_IO_MAX_IMAGE_PIXELS", "too_many_pixels"),
        ("failed_to_download", "HTTP Error 404: Not Found", "http_404"),
        ("failed_to_download", "<urlopen error refused link-local address 169.254.169.254 of a.b>", "refused_address"),
        ("failed_to_download", "<urlopen error deadline>", "deadline"),
        ("failed_to_download", "<urlopen error too large: 9 bytes>", "too_large"),
        ("failed_to_download", "timed out", "timed_out"),
        ("failed_to_download", "<urlopen error unknown url type: ftp>", "not_http"),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", "forbidden_by_host"),
        ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>", "unknown_host"),
        ("failed_to_download", "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] a>", "bad_certificate"),
        ("failed_to_download", "<urlopen error [Errno 111] Connection refused>", "no_answer"),
        ("failed_to_download", "", "no_answer"),
        ("failed_to_download", "hash mismatch", "hash_mismatch"),
        ("failed_to_download", "IncompleteRead(5 bytes read, 9 more expected)", "cut_short"),
        ("failed_to_download", "URL can't contain control characters. '/a b'", "bad_address"),
        ("failed_to_download", "'ascii' codec can't encode character '\\xe9'", "bad_address"),
    ],
)
def test_failures_are_counted_by_kind(status: str, message: str, kind: str) -> None:
    assert classify_failure(status, message) == kind


def test_what_may_pass_is_asked_again() -> None:
    passing = {"http_408", "http_425", "http_429", "http_500", "http_503", "timed_out", "deadline", "unknown_host"}
    passing |= {"no_answer", "cut_short"}
    lasting = {"http_404", "http_403", "http_410", "http_302", "not_an_image", "too_large", "refused_address"}
    lasting |= {"hash_mismatch", "forbidden_by_host", "not_http", "bad_address", "bad_certificate", "malformed_row"}
    assert {kind for kind in passing | lasting if is_transient(kind)} == passing
