"""``docker-compose.yml`` without Docker: its commands, environment and health checks as processes on loopback.

Hosts become 127.0.0.1, ports free ones. What images do of their own is done here: PostgreSQL gets its cluster, its
user and its database; and moto stands in for the object store.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests import s3_server
from tests.up import DEADLINE_S, ROOT, TICK, Up, free_port

FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]

VARIABLE = re.compile(r"\$\$|\$\{(\w+):\?([^}]*)\}")
"""The only form of a variable that the file has: one without a default."""

PLACE = re.compile(r"\b(?:(postgres|redis|objects|api):)?(5432|6379|7070|4200|8080)\b")
"""A port, with or without the service that it is of."""

LISTEN = "0A"
LOOPBACK = ("0100007F", "00000000000000000000000001000000")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """What Compose makes of a value; an error where a variable is missing."""
    return VARIABLE.sub(lambda found: "$" if found[0] == "$$" else variables[found[1]], text)


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are, which Debian keeps off the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def missing() -> str | None:
    """Which program that the services are is not on this machine."""
    if postgres_folder() is None:
        return "PostgreSQL is not installed (postgresql)"
    return None if shutil.which("redis-server") else "Redis is not installed (redis-server)"


class Compose(Up):
    """The services, between ``start_all`` and ``stop_all``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        names = {found[1] for found in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text()) if found[1]}
        self.variables = {name: secrets.token_hex(12) for name in names}
        self.ports = {port: str(free_port()) for port in ("5432", "6379", "4200")}
        self.url = f"http://127.0.0.1:{self.ports['4200']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.environments: dict[str, dict[str, str]] = {}
        self._closing = contextlib.ExitStack()
        # PostgreSQL refuses to be root, and whoever it is cannot look into root's folders.
        self._is_root = os.geteuid() == 0
        self._database = Path(tempfile.mkdtemp(prefix="w2s-postgres-"))
        if self._is_root:
            os.chown(self._database, pwd.getpwnam("nobody").pw_uid, -1)

    def auth(self) -> str:
        return interpolated(SERVICES["api"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"], self.variables)

    def log(self) -> str:
        """The ends of the logs of all services."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.folder.glob("*.log")))

    def start_all(self) -> None:
        """Start every service when those that it needs are as it needs them."""
        for name in SERVICES:
            self._start(name)

    def stop_all(self) -> None:
        """Stop what is left, last started first."""
        for name, process in reversed(self.running.items()):
            # PostgreSQL's word for: without waiting for its clients.
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()
        self._closing.close()
        shutil.rmtree(self._database)

    @contextlib.contextmanager
    def without_database(self) -> Iterator[None]:
        """PostgreSQL ends as in a crash, and starts again at the end of the block."""
        # Its word for: at once, whatever its clients do.
        self.running["postgres"].send_signal(signal.SIGQUIT)
        self.running["postgres"].wait()
        yield
        self._launch("postgres", "postgres")
        self.wait_healthy("postgres")

    def instances(self, name: str) -> list[str]:
        """Names of the processes of a service."""
        n_replicas = SERVICES[name].get("deploy", {}).get("replicas", 1)
        return [name] if n_replicas == 1 else [f"{name}-{number + 1}" for number in range(n_replicas)]

    def executed_by(self, instance: str) -> Counter[tuple[str, str]]:
        """How often each artifact was made by the stage workers of one worker."""
        made = Counter[tuple[str, str]]()
        for log in (self.folder / instance / "w2s" / "logs").glob("worker-*.log"):
            made.update(re.findall(r"^published (\w+) ([0-9a-f]{64})$", log.read_text(), re.MULTILINE))
        return made

    def listening(self) -> dict[str, set[str]]:
        """Address (hexadecimal, as the kernel has it) to ports, of all processes of the services."""
        inodes = set()
        for pid in self._pids():
            with contextlib.suppress(OSError):
                inodes |= {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        found: dict[str, set[str]] = {}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == LISTEN and f"socket:[{rest[5]}]" in inodes:
                    address, port = local.split(":")
                    found.setdefault(address, set()).add(str(int(port, 16)))
        return found

    def _pids(self) -> set[int]:
        """The processes of the services, and those that they have started."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        pids, found = set(), {process.pid for process in self.running.values()}
        while found:
            pids |= found
            found = {pid for pid, parent in parents.items() if parent in found}
        return pids

    def _start(self, name: str) -> None:
        if name in self.environments:
            return
        for other, needed in SERVICES[name].get("depends_on", {}).items():
            self._start(other)
            if needed["condition"] == "service_completed_successfully":
                once = self.running.pop(other, None)
                assert once is None or once.wait(DEADLINE_S) == 0, self.log()
            elif other != "objects":
                self.wait_healthy(other)
        if name == "objects":
            service = self._closing.enter_context(s3_server.serve())
            self.ports["7070"] = service.address.rpartition(":")[2]
            self.environments[name] = {}
            return
        if name == "postgres":
            self._make_cluster()
        if name == "api":
            self._make_database()
        for instance in self.instances(name):
            self.ports["8080"] = str(free_port())
            self.environments[name] = self.environments[instance] = self._environment(name, instance)
            self._launch(name, instance)

    def _launch(self, name: str, instance: str) -> None:
        with (self.folder / f"{instance}.log").open("ab") as log:
            self.running[instance] = subprocess.Popen(
                [self._natively(part) for part in SERVICES[name]["command"]],
                cwd=self._cwd(instance),
                env=self.environments[instance],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as_nobody(name),
            )

    def is_healthy(self, name: str) -> bool:
        """Whether the health check of a service succeeds; of the last of its processes, where it has several."""
        kind, *check = SERVICES[name]["healthcheck"]["test"]
        command = [self._natively(part) for part in check]
        if kind == "CMD-SHELL":
            command = ["sh", "-c", *command]
        done = subprocess.run(command, env=self.environments[name], capture_output=True, check=False)
        return done.returncode == 0

    def wait_healthy(self, name: str) -> None:
        """Until the health check succeeds."""
        for _ in range(DEADLINE_S * 2):
            if self.is_healthy(name):
                return
            assert all(process.poll() is None for process in self.running.values()), self.log()
            TICK.wait(0.5)
        raise AssertionError(f"{name} does not get healthy\n{self.log()}")

    def _natively(self, text: str) -> str:
        def place(found: re.Match[str]) -> str:
            port = self.ports[found[2]]
            return f"127.0.0.1:{port}" if found[1] else port

        return PLACE.sub(place, interpolated(text, self.variables).replace("0.0.0.0", "127.0.0.1"))

    def _environment(self, name: str, instance: str) -> dict[str, str]:
        folder = self.folder / instance
        folder.mkdir(exist_ok=True)
        programs = [str(Path(sys.executable).parent), str(postgres_folder()), os.environ["PATH"]]
        values = {key: self._natively(value) for key, value in SERVICES[name].get("environment", {}).items()}
        return {
            "PATH": os.pathsep.join(programs),
            "HOME": str(folder),
            "W2S_HOME": str(folder / "w2s"),  # from the Dockerfile; here as on machines of their own
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "PGDATA": str(self._database / "data"),  # as in its image
            **values,
        }

    def _cwd(self, instance: str) -> Path:
        return self._database if instance == "postgres" else self.folder / instance

    def _as_nobody(self, name: str) -> dict[str, Any]:
        return {"user": "nobody"} if name == "postgres" and self._is_root else {}

    def _make_cluster(self) -> None:
        values = SERVICES["postgres"]["environment"]
        password = self._database / "password"
        password.write_text(interpolated(values["POSTGRES_PASSWORD"], self.variables))
        password.chmod(0o644)
        arguments = ["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", f"--pwfile={password}"]
        subprocess.run(
            [f"{postgres_folder()}/initdb", *arguments, f"--username={values['POSTGRES_USER']}"],
            check=True,
            capture_output=True,
            cwd=self._database,
            env=self._environment("postgres", "postgres"),
            **self._as_nobody("postgres"),
        )
        with (self._database / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.ports['5432']}\nunix_socket_directories = ''\nfsync = off\n")

    def _make_database(self) -> None:
        values = SERVICES["postgres"]["environment"]
        password = interpolated(values["POSTGRES_PASSWORD"], self.variables)
        place = ["--host=127.0.0.1", f"--port={self.ports['5432']}", f"--username={values['POSTGRES_USER']}"]
        subprocess.run(
            [f"{postgres_folder()}/createdb", *place, values["POSTGRES_DB"]],
            check=True,
            env={**self.environments["postgres"], "PGPASSWORD": password},
        )


def running(folder: Path) -> Iterator[Compose]:
    """All services, until the generator is closed."""
    services = Compose(folder)
    try:
        services.start_all()
        yield services
    finally:
        services.stop_all()
