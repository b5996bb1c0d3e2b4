"""Objects below a prefix of an S3 bucket: whole reads, conditional writes, listings. What they mean is in ``s3.store``.

The only module that knows boto3. What waits out an outage is here: boto3's own retries have a quota for each process,
which a few threads that wait at the same time use up within seconds.
"""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import tenacity

from artifacts.errors import StoreUnavailable, UsageError
from artifacts.waiting import Wait

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

T = TypeVar("T")

PATIENCE_S = 180
LONGEST_PAUSE_S = 10
AWAY = (429, 500, 502, 503, 504)
"""HTTP statuses of a service that may do the same a little later."""

N_CONNECTIONS = 32
CONNECT_TIMEOUT_S = 10
N_REMOVED_AT_ONCE = 1000

NO_PLACE = ("us-east-1", "aws-global")
"""Regions that must not be named where a bucket is made."""

NOT_WRITTEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
"""What a conditional write answers when the object is not what it was to replace."""


class Entry(NamedTuple):
    """An object, as a listing has it."""

    path: str
    size_bytes: int
    etag: str
    age_s: float
    """Since it was written, by the service's clock."""


class Object(NamedTuple):
    """A small object, read whole."""

    content: bytes
    etag: str


class Objects:
    """The objects below ``s3://bucket/prefix``; credentials and endpoint come from the usual environment.

    Args:
        url: the bucket and prefix.
        is_patient: wait out an outage of up to ``PATIENCE_S``; otherwise fail within seconds.

    Raises:
        UsageError: the URL names no bucket, or boto3 is not installed.
    """

    def __init__(self, url: str, *, is_patient: bool = True) -> None:
        self.url = url.rstrip("/")
        self._bucket, _, prefix = self.url.removeprefix("s3:").strip("/").partition("/")
        self._prefix = prefix and f"{prefix}/"
        if not self._bucket:
            raise UsageError(f"{url} names no bucket; write s3://BUCKET/PREFIX")
        settings = tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith("AWS_")))
        with self._told():
            self._client = _client(settings)
        self._patience_s = PATIENCE_S if is_patient else 0

    def impatient(self) -> Objects:
        """The same objects, for whom it is better to fail within seconds than to wait."""
        return Objects(self.url, is_patient=False)

    def create_bucket(self) -> None:
        """Make the bucket, unless it is there."""
        from botocore.exceptions import ClientError

        region = self._client.meta.region_name
        place = {} if region in (None, *NO_PLACE) else {"LocationConstraint": region}
        with self._told():
            try:
                self._client.create_bucket(
                    Bucket=self._bucket, **({"CreateBucketConfiguration": place} if place else {})
                )
            except ClientError as error:
                if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def read(self, path: str) -> Object | None:
        """An object; None where there is none."""
        from botocore.exceptions import ClientError

        def get(**place: str) -> Object:
            found = self._client.get_object(**place)
            return Object(found["Body"].read(), found["ETag"])

        with self._told():
            try:
                return self._ask(get, Key=self._prefix + path)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise

    def write(self, path: str, content: bytes, *, over: str | None) -> str | None:
        """Write an object, unless something else is there than expected.

        Args:
            path: where.
            content: what.
            over: ETag of the object that it replaces; None: there must be none.

        Returns:
            The new ETag; None if nothing was written, or if an answer was lost and the second attempt found what the
            first had written.
        """
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        with self._told():
            try:
                return self._put(path, content, condition)
            except ClientError as error:
                if _code(error) in NOT_WRITTEN:
                    return None
                raise

    def overwrite(self, path: str, content: bytes) -> None:
        """Write an object, whatever was there."""
        with self._told():
            self._put(path, content, {})

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The objects whose path starts with ``prefix``, by path; a thousand per request."""
        for page in self._pages(Prefix=self._prefix + prefix):
            now = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for found in page.get("Contents", []):
                age_s = (now - found["LastModified"]).total_seconds()
                yield Entry(found["Key"].removeprefix(self._prefix), found["Size"], found["ETag"], age_s)

    def folders(self) -> list[str]:
        """Sorted first parts of all paths that have several."""
        pages = self._pages(Prefix=self._prefix, Delimiter="/")
        found = [common["Prefix"] for page in pages for common in page.get("CommonPrefixes", [])]
        return sorted(path.removeprefix(self._prefix).rstrip("/") for path in found)

    def upload(self, file: Path, path: str) -> None:
        """Copy a local file to an object, in parts where it is large."""
        with self._told():
            self._ask(self._client.upload_file, Filename=str(file), Key=self._prefix + path)

    def download(self, path: str, file: Path) -> None:
        """Copy an object to a local file, whose folder is there."""
        with self._told():
            self._ask(self._client.download_file, Key=self._prefix + path, Filename=str(file))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove objects; none need be there."""
        left = [{"Key": self._prefix + path} for path in paths]
        while left:
            now, left = left[:N_REMOVED_AT_ONCE], left[N_REMOVED_AT_ONCE:]
            with self._told():
                answer = self._ask(self._client.delete_objects, Delete={"Objects": now, "Quiet": True})
            for error in answer.get("Errors", []):
                raise StoreUnavailable(f"{self.url}: cannot remove {error['Key']}: {error['Code']}; check your rights")

    def _put(self, path: str, content: bytes, condition: dict[str, str]) -> str:
        answer = self._ask(self._client.put_object, Key=self._prefix + path, Body=content, **condition)
        etag: str = answer["ETag"]
        return etag

    def _pages(self, **arguments: str) -> Iterator[dict[str, Any]]:
        """The answers to a listing, as they are asked for."""
        while True:
            with self._told():
                page = self._ask(self._client.list_objects_v2, **arguments)
            yield page
            if not page["IsTruncated"]:
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _ask(self, call: Callable[..., T], **arguments: Any) -> T:
        """``call`` for the bucket, again and again while the service is away."""
        with Wait(lambda: f"{self.url}, which does not answer") as wait:
            asking = tenacity.Retrying(
                retry=tenacity.retry_if_exception(_is_away),
                stop=tenacity.stop_after_delay(self._patience_s),
                wait=tenacity.wait_random_exponential(max=LONGEST_PAUSE_S),
                sleep=wait.sleep,
                reraise=True,
            )
            return asking(call, Bucket=self._bucket, **arguments)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what boto3 raises into one line."""
        try:
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
        except ImportError:
            raise UsageError(f"{self.url}: a store on S3 needs boto3; install it with: pip install 'w2s[s3]'") from None
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreUnavailable(
                f"{self.url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or any other source that boto3 reads"
            ) from error
        except ClientError as error:
            raise StoreUnavailable(f"{self.url}: {self._refusal(error)}") from error
        except (BotoCoreError, Boto3Error) as error:
            reason = " ".join(str(error).split())
            raise StoreUnavailable(f"{self.url}: {reason}; is the service up, and AWS_ENDPOINT_URL right?") from error

    def _refusal(self, error: ClientError) -> str:
        code = _code(error)
        if code == "NoSuchBucket":
            return f"there is no bucket {self._bucket}; create it first"
        message = " ".join(str(error.response["Error"].get("Message", "")).split())
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            return f"refused ({code}: {message}); check the credentials, and their rights to this bucket"
        return f"{code}: {message}"


@functools.cache
def _client(settings: tuple[tuple[str, str], ...]) -> Any:
    """One client for the settings of the environment; making one takes a tenth of a second."""
    import boto3.session
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        region_name=dict(settings).get("AWS_REGION"),  # which boto3 itself does not read
        config=Config(
            retries={"mode": "standard"},
            connect_timeout=CONNECT_TIMEOUT_S,
            max_pool_connections=N_CONNECTIONS,
            tcp_keepalive=True,
        ),
    )


def _is_away(error: BaseException) -> bool:
    """Whether an error says nothing but that the service cannot answer now."""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError

    if isinstance(error, S3UploadFailedError) and error.__context__ is not None:
        return _is_away(error.__context__)
    if isinstance(error, ClientError):
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in AWAY
    return isinstance(error, (ConnectionError, HTTPClientError, IncompleteReadError, RetriesExceededError))


def _moment(text: str) -> datetime.datetime:
    """A time in an answer; botocore's own parser takes longer than all else that a listing needs."""
    from botocore.utils import parse_timestamp

    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:  # in headers it has another form
        moment: datetime.datetime = parse_timestamp(text)
        return moment


def _code(error: ClientError) -> str:
    code: str = error.response["Error"]["Code"]
    return code
