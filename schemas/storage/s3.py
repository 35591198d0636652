"""Adapts s3fs to retry a request for a limited time if it is throttled, reset, timed out or truncated.

botocore retries, and s3fs retries around it. Together they survive every fault that the tests' proxy injects except
one: if the response to a conditional write is lost, the retry fails as if another writer had come first. And their
retries multiply, to 25 attempts with no limit on the total time. So both are disabled, and all requests go through one
function, `RetryingS3._call_s3`. A response is returned only once its whole body has arrived; a truncated one is
requested again.
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
from schemas.storage.retries import count_retry

RETRY_SECONDS = 60.0  # seconds for which a failing request is retried; less than the default stall_seconds
BACKOFF_BASE, MAX_BACKOFF = 0.2, 10.0  # seconds; exponential backoff with full jitter, first limit 2 * base
PART_BYTES, PARTS_AT_ONCE = 16 << 20, 4  # size of an upload's parts, and how many are in memory at once

REQUEST_ID_KEY = "shardloom-put"  # metadata key under which a conditional write stores its request id
CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 1}, "max_pool_connections": 32}

_FAILURES = (OSError, exceptions.BotoCoreError, parsers.ResponseParserError, aiohttp.ClientError)
_TRANSIENT = (  # except SSLError and ProxyConnectionError, which waiting does not fix
    exceptions.HTTPClientError,
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.FlexibleChecksumError,
    exceptions.IncompleteReadError,
    parsers.ResponseParserError,  # an overloaded store may respond without XML
    aiohttp.ClientError,
    ConnectionError,
    TimeoutError,
)
_TRANSIENT_CODES = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestThrottled", "RequestLimitExceeded", "TooManyRequests"),
    *("RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"),  # the request was truncated
    *("ConditionalRequestConflict", "OperationAborted"),  # another request for the object is in progress
}


class RetryingS3(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """Retries each transient failure of `S3FileSystem` for up to `retry_seconds` seconds."""

    retries = 1  # disables the retries of s3fs itself

    def __init__(
        self,
        *args: Any,
        retry_seconds: float = RETRY_SECONDS,
        config_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "patience" in kwargs:
            raise UsageError("S3: the storage option patience is now retry_seconds")
        # Listings are not cached: workers write the files that the driver reads.
        kwargs = {"use_listings_cache": False, "default_cache_type": "none"} | kwargs
        super().__init__(*args, config_kwargs=CONFIG | (config_kwargs or {}), **kwargs)
        self.retry_seconds = float(retry_seconds)

    async def set_session(self, refresh: bool = False, kwargs: Any = None) -> Any:
        """Opens the session, as in s3fs. Raises `UsageError` for unknown options and missing profiles."""
        try:
            return await super().set_session(refresh)
        except (TypeError, ValueError, exceptions.BotoCoreError) as error:
            raise UsageError(f"S3: {error}: check --storage-option and the AWS_* environment variables") from None

    async def _call_s3(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Sends one request and retries it after transient failures. Raises only `OSError` and `UsageError`."""
        retry_seconds = 0.0 if method == "abort_multipart_upload" else self.retry_seconds
        if "IfNoneMatch" in kwargs:
            kwargs["Metadata"] = {REQUEST_ID_KEY: uuid.uuid4().hex}
        tries, since = 0, 0.0
        while True:
            try:
                return await self._request_once(method, *args, **kwargs)
            except _FAILURES as error:
                if "IfNoneMatch" in kwargs and _get_status(error) == 412 and await self._is_own_put(kwargs):
                    return {}
                if not is_transient(error):
                    raise _translate_error(error, kwargs) from error.__cause__
                failure = error
            tries, now = tries + 1, time.monotonic()
            since = since or now
            wait = random.uniform(0, min(MAX_BACKOFF, BACKOFF_BASE * 2**tries))
            if now + wait - since > retry_seconds:
                tried = f"{_describe_error(failure)} (tried {tries} times in {now - since:.0f} s)"
                raise OSError(errno.EIO, tried) from failure
            count_retry()
            await asyncio.sleep(wait)

    call_s3 = sync_wrapper(_call_s3)

    async def _request_once(self, method: str, *args: Any, **kwargs: Any) -> Any:
        response = await super()._call_s3(method, *args, **kwargs)
        if method == "get_object":
            body = response["Body"]
            try:
                data = await body.read()
            finally:
                body.close()
            if "Range" in kwargs and not data:
                raise aiohttp.ClientPayloadError("the response body is empty")
            response["Body"] = _Body(data)
        return response

    async def _is_own_put(self, request: dict[str, Any]) -> bool:
        """Returns whether this request wrote the object: the first of several attempts may have done so.

        Comparing the contents proves nothing, because another run writes the same bytes. An object that has been
        removed meanwhile was another's: nobody removes what a run is still creating.
        """
        try:
            response = await self._call_s3("head_object", Bucket=request["Bucket"], Key=request["Key"])
        except FileNotFoundError:
            return False
        return bool(response.get("Metadata", {}).get(REQUEST_ID_KEY) == request["Metadata"][REQUEST_ID_KEY])

    async def _cat_file(self, path: str, **kwargs: Any) -> Any:
        """Reads the file in one request; by default s3fs requests its size first."""
        return await super()._cat_file(path, **({"max_concurrency": 1} | kwargs))

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        kwargs = {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE} | kwargs
        try:
            await super()._put_file(lpath, rpath, **kwargs)
        except FileNotFoundError as error:
            if _get_error_code(error) != "NoSuchUpload":
                raise
            # The upload was completed, but the response was lost. The object may be another upload's, so upload again.
            await super()._put_file(lpath, rpath, **kwargs)

    async def _abort_mpu(self, bucket: str, key: str, mpu: str) -> None:
        """Aborts a multipart upload, without retries.

        Parts that remain are never visible, and a lifecycle rule of the bucket can remove them.
        """
        with contextlib.suppress(OSError):
            await self._call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=mpu)


class _Body:
    """Wraps a response body that has already been read, for s3fs to read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass


def is_transient(error: BaseException) -> bool:
    """Returns whether the same request may succeed a moment later."""
    if (status := _get_status(error)) is None:
        return isinstance(error, _TRANSIENT)
    return _get_error_code(error) in _TRANSIENT_CODES or status == 429 or (status >= 500 and status != 501)


def _translate_error(error: BaseException, request: dict[str, Any]) -> Exception:
    """Translates a permanent failure into the exception to raise."""
    if _get_error_code(error) == "NoSuchBucket":
        return UsageError(f"s3://{request.get('Bucket')}: there is no such bucket")
    if _get_status(error) == 412 and "IfNoneMatch" in request:
        return FileExistsError(errno.EEXIST, "it already exists")
    if _get_status(error) == 412:
        return OSError(errno.EBUSY, "it changed while it was being read")
    if isinstance(error, FileNotFoundError):
        return error
    if isinstance(error, exceptions.NoCredentialsError):
        advice = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use an IAM role"
        return PermissionError(errno.EACCES, f"no credentials: {advice}")
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    return OSError(number, _describe_error(error))


def _describe_error(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{code}: {said}" if (code := _get_error_code(error)) and not code.isdigit() else said


def _get_response(error: BaseException) -> dict[str, Any]:
    """Returns the store's error response. s3fs raises an `OSError` whose cause is botocore's error."""
    return getattr(error.__cause__, "response", None) or {}


def _get_status(error: BaseException) -> int | None:
    status: int | None = _get_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _get_error_code(error: BaseException) -> str:
    return str(_get_response(error).get("Error", {}).get("Code", ""))
