"""S3 as s3fs has it, with patience: a request that is throttled, reset, timed out or cut short is sent again.

There are retries in botocore and others around them in s3fs. Together they bear all that the proxy of our tests does
but one thing: when the answer to a conditional write is lost, the second try is refused as if another writer had come
first. And they multiply, to 25 tries in a time that nobody can set. So both are off, and all requests go through one
place, `PatientS3._call_s3`. An answer counts when its body is here: one that is cut is asked for again, not handed on.
"""

import asyncio
import contextlib
import errno
import random
import time
import uuid
from typing import Any

import aiohttp
from botocore import exceptions, parsers
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from schemas.errors import UsageError
from schemas.storage import retries as resent

PATIENCE = 60.0  # seconds of failures of one request; less than what a stage may be without a sign of life
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds; a wait is a random part of a limit that doubles
PART_BYTES, PARTS_AT_ONCE = 16 << 20, 4  # of an upload, of which so many are in memory

MARK = "shardloom-put"  # in the metadata of an object that was put on a condition: the request that it came by
CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 1}, "max_pool_connections": 32}

_FAILURES = (OSError, exceptions.BotoCoreError, parsers.ResponseParserError, aiohttp.ClientError)
_PASSING = (  # but for SSLError and ProxyConnectionError, which no waiting mends
    exceptions.HTTPClientError,
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.FlexibleChecksumError,
    exceptions.IncompleteReadError,
    parsers.ResponseParserError,  # answers of overloaded stores may be no XML
    aiohttp.ClientError,
    ConnectionError,
    TimeoutError,
)
_PASSING_CODES = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"),  # the request was cut
    *("ConditionalRequestConflict", "OperationAborted"),  # another request for the object is under way
}


class PatientS3(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """`patience`: seconds for which failures of one request that may pass are borne. All else is s3fs's."""

    retries = 1  # of s3fs itself

    def __init__(
        self, *args: Any, patience: float = PATIENCE, config_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        # No listings are kept: workers write what a driver reads.
        kwargs = {"use_listings_cache": False, "default_cache_type": "none"} | kwargs
        super().__init__(*args, config_kwargs=CONFIG | (config_kwargs or {}), **kwargs)
        self.patience = float(patience)

    async def set_session(self, refresh: bool = False, kwargs: Any = None) -> Any:
        """See s3fs. Raises `UsageError` for options that are none, and for profiles that are not there."""
        try:
            return await super().set_session(refresh)
        except (TypeError, ValueError, exceptions.BotoCoreError) as error:
            raise UsageError(f"S3: {error}: see --storage-option and the AWS_ variables") from None

    async def _call_s3(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One request, sent again for as long as it fails in ways that may pass. Raises OSError, and nothing else."""
        patience = 0.0 if method == "abort_multipart_upload" else self.patience
        if "IfNoneMatch" in kwargs:
            kwargs["Metadata"] = {MARK: uuid.uuid4().hex}
        tries, since = 0, 0.0
        while True:
            try:
                return await self._answer(method, *args, **kwargs)
            except _FAILURES as error:
                if "IfNoneMatch" in kwargs and _status(error) == 412 and await self._has_put(kwargs):
                    return {}
                if not may_pass(error):
                    raise _final(error, kwargs) from error.__cause__
                failure = error
            tries, now = tries + 1, time.monotonic()
            since = since or now
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**tries))
            if now + wait - since > patience:
                tried = f"{_reason(failure)} (tried {tries} times in {now - since:.0f} s)"
                raise OSError(errno.EIO, tried) from failure
            resent.count()
            await asyncio.sleep(wait)

    call_s3 = sync_wrapper(_call_s3)

    async def _answer(self, method: str, *args: Any, **kwargs: Any) -> Any:
        answer = await super()._call_s3(method, *args, **kwargs)
        if method == "get_object":
            body = answer["Body"]
            try:
                data = await body.read()
            finally:
                body.close()
            if "Range" in kwargs and not data:
                raise aiohttp.ClientPayloadError("an answer without bytes")
            answer["Body"] = _Body(data)
        return answer

    async def _has_put(self, put: dict[str, Any]) -> bool:
        """Whether an object came there by this request: sent twice, by us or by aiohttp, and answered the first time.

        Its bytes would not tell: another run writes the same.
        """
        answer = await self._call_s3("head_object", Bucket=put["Bucket"], Key=put["Key"])
        return bool(answer.get("Metadata", {}).get(MARK) == put["Metadata"][MARK])

    async def _cat_file(self, path: str, **kwargs: Any) -> Any:
        """By one request; s3fs would ask for the size first."""
        return await super()._cat_file(path, **({"max_concurrency": 1} | kwargs))

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        kwargs = {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE} | kwargs
        try:
            await super()._put_file(lpath, rpath, **kwargs)
        except FileNotFoundError as error:
            if _code(error) != "NoSuchUpload":
                raise
            # The store had put the parts together, and its answer was lost. Whose object it is now can't be told.
            await super()._put_file(lpath, rpath, **kwargs)

    async def _abort_mpu(self, bucket: str, key: str, mpu: str) -> None:
        """Once: what it can't clear away is never seen, and a lifecycle rule of the bucket's can."""
        with contextlib.suppress(OSError):
            await self._call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=mpu)


class _Body:
    """The body of an answer, which is here already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if (status := _status(error)) is None:
        return isinstance(error, _PASSING)
    return _code(error) in _PASSING_CODES or status == 429 or (status >= 500 and status != 501)


def _final(error: BaseException, request: dict[str, Any]) -> Exception:
    """What a failure that doesn't pass means."""
    if _code(error) == "NoSuchBucket":
        return UsageError(f"s3://{request.get('Bucket')}: there is no such bucket")
    if _status(error) == 412 and "IfNoneMatch" in request:
        return FileExistsError(errno.EEXIST, "it is there already")
    if _status(error) == 412:
        return OSError(errno.EBUSY, "it was changed while it was read")
    if isinstance(error, FileNotFoundError):
        return error
    if isinstance(error, exceptions.NoCredentialsError):
        return PermissionError(errno.EACCES, "no credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or run with a role")
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    return OSError(number, _reason(error))


def _reason(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{code}: {said}" if (code := _code(error)) and not code.isdigit() else said


def _answer_of(error: BaseException) -> dict[str, Any]:
    """What the store said; s3fs makes an OSError of it and keeps the original as its cause."""
    return getattr(error.__cause__, "response", None) or {}


def _status(error: BaseException) -> int | None:
    status: int | None = _answer_of(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _code(error: BaseException) -> str:
    return str(_answer_of(error).get("Error", {}).get("Code", ""))
