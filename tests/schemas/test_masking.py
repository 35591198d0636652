"""Users and queries of URLs are shown to nobody; all else stays as it is."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.masking import find_secret, mask_secrets, mask_values
from schemas.output_set.manifest import InputFile
from schemas.storage.options import refuse_secrets
from tests.support.growth import assert_linear

SHOWN = {
    "cannot read sftp://me:p@ss@host/a/b@c: gone": "cannot read sftp://***@host/a/b@c: gone",
    "s3://AKIA:abc/def@bucket/x": "s3://***@bucket/x",
    "http://host:80/a@b http://[::1]:80/a@b": "http://host:80/a@b http://[::1]:80/a@b",
    "HTTPS://token@host/x.tar": "HTTPS://***@host/x.tar",
    "https://host/x.tar?sig=a/b+c%3D&v=1: No such file": "https://host/x.tar?***: No such file",
    "('https://host/x?abcdef', 2)": "('https://host/x?***', 2)",
    "gs://b/x?token=abc#rows=0-10": "gs://b/x?***#rows=0-10",
    "no file matches s3://b/0?.tar": "no file matches s3://b/0?.tar",
    "s3://b/{a,b}/*@x.tar": "s3://b/{a,b}/*@x.tar",
    "abfss://container@account.dfs.core.windows.net/x": "abfss://container@account.dfs.core.windows.net/x",
    "hf://datasets/o/n@main/x": "hf://datasets/o/n@main/x",
    "/home/a@b/c?d=e": "/home/a@b/c?d=e",
    "https://u:pa'ss@h/a": "https://***@h/a",
    "https://h/a?sig=abc'def\"g": "https://h/a?***",
    "'https://u:p@h','x@y' 'http://h?a','b'": "'https://***@h','x@y' 'http://h?***','b'",
    repr("https://u:pa's\"s@h/a?b=c'd\"e"): "'https://***@h/a?***'",
    "https://u:a@h/x,https://v:b@i/y": "https://***@h/x,https://***@i/y",
    "x" * 40 + "://u:p@h/a": "x" * 40 + "://***@h/a",
}


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_shown_of_a_url(text: str) -> None:
    assert mask_secrets(text) == SHOWN[text]
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text)
    assert str(StorageError(text)) == SHOWN[text]
    assert InputFile(path=text, size=0, sha256="").path == SHOWN[text]
    assert mask_values({"a": [text, 3, None]}) == {"a": [SHOWN[text], 3, None]}


@pytest.mark.parametrize("part", ["a.", "http://", "a://b:c", "a://?", "'a://\\", "az://b@"])
@pytest.mark.parametrize(("begin", "end"), [("", ""), ("", "://"), ("", "@"), ("", "#="), ("://", "")])
def test_masking_takes_linear_time(part: str, begin: str, end: str) -> None:
    assert_linear(mask_secrets, lambda count: begin + part * count + end, 1000)


@given(st.text())
def test_text_without_a_url_stays_as_it_is(text: str) -> None:
    if "://" not in text:
        assert str(ShardloomError(text)) == mask_secrets(text) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("key", "AKIA"),
            ("secret", "x"),
            ("token", "x"),
            ("password", "x"),
            ("account_key", "x"),
            ("sas_token", "x"),
        ),
        *(("connection_string", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("auth", ["me", "x"]), ("passphrase", "x")),
        ("endpoint_url", "https://me:x@store"),
        ("client_kwargs", {"headers": {"Authorization": "x"}}),
        ("s3_additional_kwargs", {"SSECustomerKey": "x"}),
        ("config_kwargs", [{"retries": 3}, {"proxies": {"pass": "x"}}]),
        *(("headers", {"X-Auth": "x"}), ("bearer", "x"), ("jwt", "x")),
    ],
)
def test_secrets_are_told_by_their_names(name: str, value: Any) -> None:
    found = find_secret(name, value)
    assert found is not None
    assert found.split(".")[0] == name


def test_secrets_are_refused_as_flags() -> None:
    refuse_secrets(["retry_seconds=3", "profile=mine", "key", "=x", 'config_kwargs={"read_timeout": 2}'])
    for flag, name in (
        ("secret=x", "secret"),
        ('client_kwargs={"headers": {"Cookie": "x"}}', "client_kwargs.headers"),
    ):
        with pytest.raises(UsageError, match=rf"^--storage-option {name}.*: all users of the machine can read a"):
            refuse_secrets(["retry_seconds=3", flag])


def test_what_stands_for_a_secret_is_none(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    references = {"profile": "mine", "token": str(tmp_path / "key.json"), "key_filename": "/x", "anon": True}
    references |= {"endpoint_url": "https://store:9000", "retry_seconds": 3, "config_kwargs": {"read_timeout": 2}}
    assert [find_secret(name, value) for name, value in references.items()] == [None] * len(references)
    assert find_secret("token", "anon") is None
