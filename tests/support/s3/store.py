"""An S3 of our own, in this process: moto's server, and what tests ask of it behind all proxies."""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from schemas.output_set.layout import REPORT

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
NO_FILES = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Store:
    """Where it listens, and a client."""

    url: str
    client: Any

    def bucket(self, name: str) -> str:
        """Makes a bucket; its URL."""
        self.client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def put(self, url: str, data: bytes) -> None:
        """Puts an object there."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def objects(self, url: str, held: dict[str, bytes] | None = None) -> dict[str, bytes]:
        """All objects below a URL, by their names from there. Those that `held` has, by their ETags, are not read."""
        held = {} if held is None else held
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = f"{prefix}/" if prefix else ""
        found: dict[str, bytes] = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                try:
                    if entry["ETag"] not in held:
                        answer = self.client.get_object(Bucket=bucket, Key=entry["Key"])
                        held[entry["ETag"]] = answer["Body"].read()
                except self.client.exceptions.NoSuchKey:
                    continue  # it has gone meanwhile
                found[entry["Key"].removeprefix(prefix)] = held[entry["ETag"]]
        return found

    def hashes(self, url: str) -> dict[str, str]:
        """Of all that must be the same in every run, as `drivers.hashes` has it of a local folder."""
        return {
            name: hashlib.sha256(data).hexdigest()
            for name, data in self.objects(url).items()
            if name.rpartition("/")[2] not in ("stats.json", REPORT)
        }

    def upload(self, folder: Path, url: str) -> None:
        """Puts all files of a folder below a URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{url}/{path.relative_to(folder)}", path.read_bytes())


@contextmanager
def running_store() -> Iterator[Store]:
    """Runs one."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_DEFAULT_REGION"],
    )
    try:
        yield Store(url, client)
    finally:
        server.stop()
