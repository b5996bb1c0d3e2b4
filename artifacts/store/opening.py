"""Chooses the store that a URL names."""

from __future__ import annotations

from pathlib import Path

from artifacts.errors import UsageError
from artifacts.store.contract import Store

S3 = "s3://"


def open_store(url: str, cache: Path, *, is_patient: bool = False) -> Store:
    """The store at ``url``: a local folder, or ``s3://bucket/prefix``.

    Args:
        url: where it is.
        cache: a local folder for what is read from a store elsewhere.
        is_patient: wait out an outage of minutes, as work under way does; who just started wants to know at once.

    Raises:
        UsageError: another kind of URL.
        ForeignStore: there is something else, or a store of another version.
        StoreUnavailable: it cannot be reached, or not with these credentials.
    """
    if url.startswith(S3):
        from artifacts.store.s3.store import S3Store  # needs boto3, which is optional

        return S3Store(url, cache, is_patient=is_patient)
    if "://" in url:
        raise UsageError(
            f"{url} is no store: a store is a local folder, or s3://BUCKET/PREFIX on any service with S3's API"
        )
    from artifacts.store.local import LocalStore

    return LocalStore(Path(url).absolute())
