"""PostgreSQL from the system's packages, in a folder of its own, on loopback and with a password."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.up import free_port


class Postgres:
    """One cluster, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._data = folder / "data"
        self._log = folder / "log"
        self._password = secrets.token_urlsafe(12)
        secret = folder / "password"
        secret.write_text(self._password)
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        self._run("initdb", "--username=w2s", "--auth=scram-sha-256", f"--pwfile={secret}")

    @property
    def url(self) -> str:
        """How Prefect's server finds its database there."""
        return f"postgresql+asyncpg://w2s:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run("pg_ctl", "start", "--wait", f"--log={self._log}", f"--options={options}")

    def stop(self) -> None:
        """As a crash does it."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _run(self, program: str, *arguments: str) -> None:
        # It refuses to run as root.
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        # What it starts inherits the streams, and must not keep anyone waiting for their end.
        with self._log.with_suffix(".told").open("w") as told:
            subprocess.run(
                [*user, find(program), *arguments, f"--pgdata={self._data}"],
                check=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
            )


def find(program: str) -> str:
    """Where a program of PostgreSQL is; the test is skipped where there is none."""
    found = shutil.which(program) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    return found


@contextlib.contextmanager
def serve() -> Iterator[Postgres]:
    """A running one, until the block ends."""
    find("initdb")
    # Where another user, too, can get to.
    with tempfile.TemporaryDirectory(prefix="w2s-postgres-") as folder:
        postgres = Postgres(Path(folder))
        postgres.start()
        try:
            yield postgres
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                postgres.stop()
