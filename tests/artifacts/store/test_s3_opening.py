"""Which stores ``open_store`` opens, and what it says of those that it cannot; each in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from artifacts.errors import StoreUnavailable, UsageError
from artifacts.store.opening import open_store


@pytest.mark.parametrize("url", ["gs://bucket/store", "file:///data/store", "https://host/bucket"])
def test_other_urls_are_refused_with_what_is_supported(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a store is a local folder, or s3://BUCKET/PREFIX"):
        open_store(url, tmp_path)


def test_url_without_a_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no bucket"):
        open_store("s3://", tmp_path)


def test_missing_credentials_are_one_line(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreUnavailable, match=r"no credentials; set AWS_ACCESS_KEY_ID and") as raised:
        open_store(s3_url, tmp_path)
    assert "\n" not in str(raised.value)


def test_service_that_does_not_answer_is_one_line(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(
        StoreUnavailable, match=r"127\.0\.0\.1:9.*is the service up, and AWS_ENDPOINT_URL right\?$"
    ) as raised:
        open_store(s3_url, tmp_path)
    assert "\n" not in str(raised.value)


def test_missing_bucket_is_one_line(s3_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no bucket nowhere; create it first"):
        open_store("s3://nowhere/store", tmp_path)


def test_missing_client_library_says_how_to_get_it(
    s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3.exceptions", None)
    with pytest.raises(UsageError, match=r"needs boto3; install it with: pip install 'w2s\[s3\]'"):
        open_store(s3_url, tmp_path)
