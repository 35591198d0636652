"""Classifies failed downloads by kind, and decides which are worth a retry."""

import re
from collections import Counter

from schemas.errors import ShardloomError
from schemas.records.quarantine import Reason

MIN_UNANSWERED = 100  # URLs; if at least this many fail and no host responded, the network is down

NOT_HTTP = "not_http"
REFUSED = "refused_address"
DEADLINE = "deadline"
CUT_SHORT = "cut_short"
SLOW_IMAGE = "slow_image"  # takes longer to decode than any legitimate image
NOT_WRITTEN = "not_written"  # img2dataset skips a sample that its writer fails on

_KINDS = (
    (r"refused [\w-]+ address", REFUSED),
    (r"deadline", DEADLINE),
    (r"too large", "too_large"),
    (r"hash mismatch", "hash_mismatch"),
    (r"timed out", "timed_out"),
    (r"unknown url type", NOT_HTTP),
    (r"X-Robots-Tag", "forbidden_by_host"),
    (r"Name or service not known|name resolution|No address associated", "unknown_host"),
    (r"CERTIFICATE|certificate", "bad_certificate"),
    (
        r"control characters|codec can't encode|nonnumeric port|no host given|Invalid IPv6|codec failed"
        r"|under NFKC normalization|label empty or too long|Violation of BIDI|does not appear to be an IP",
        "bad_address",
    ),
    (r"IncompleteRead", CUT_SHORT),
)
_DECODING_KINDS = (
    ("MAX_IMAGE_PIXELS", "too_many_pixels"),
    ("s to decode", SLOW_IMAGE),
    ("killed its decoder", Reason.WORKER_KILLED.value),
)
_UNANSWERED = {DEADLINE, "timed_out", "unknown_host", "no_answer"}
_TRANSIENT_CODES = {408, 425, 429}  # HTTP codes below 500 that mean: try later, or less often


def classify_failure(status: str, message: str) -> str:
    """Returns the kind of a failure, one word, from img2dataset's status and message."""
    if status == "failed_to_resize":
        return next((kind for words, kind in _DECODING_KINDS if words in message), "not_an_image")
    if error := re.search(r"HTTP Error (\d{3})", message):
        return f"http_{error[1]}"
    return next((kind for pattern, kind in _KINDS if re.search(pattern, message)), "no_answer")


def is_transient(kind: str) -> bool:
    """Returns whether a failure may be transient: a busy or unreachable host, a failed name lookup, a timeout."""
    if kind.startswith("http_"):
        code = int(kind.removeprefix("http_"))
        return code >= 500 or code in _TRANSIENT_CODES
    return kind in _UNANSWERED or kind == CUT_SHORT


def is_retryable(kind: str) -> bool:
    """Returns whether there is a URL that may be requested: the fault is not in the row itself."""
    return kind not in (NOT_HTTP, Reason.MALFORMED_ROW, Reason.NOT_TEXT)


def check_responses(part: str, downloaded: int, failures: Counter[str]) -> None:
    """Raises `ShardloomError` when no host responded, so that a part is not given up because the network was down."""
    if not downloaded and failures.total() >= MIN_UNANSWERED and all(kind in _UNANSWERED for kind in failures):
        raise ShardloomError(
            f"{part}: none of {failures.total():,} URLs got a response ({failures.most_common(1)[0][0]}): "
            "check the network and the name server. Finished work is kept; the same command resumes the run"
        )
