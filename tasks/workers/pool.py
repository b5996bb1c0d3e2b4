"""Long-lived worker processes that run one stage each at a time, and what becomes of jobs whose worker dies.

Knows no stages: a job is the name of a function and a JSON object. The other end of the pipes is ``worker``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from artifacts.identity.keys import JSON

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""Variables that libraries read when they are loaded: torch, pyarrow, numpy, tokenizers."""

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # A worker that is killed must not take the last lines of its log with it.
    "PYTHONUNBUFFERED": "1",
}


STOPPED = "the workers were stopped"

log = logging.getLogger("w2s")
"""What workers have to say is said here, in the thread that waits for them."""


class JobFailed(Exception):
    """A job that raised; nothing but plain data comes back from the worker.

    Attributes:
        kind: name of the exception's type in the worker.
        traceback: its text there.
        is_expected: whether it was one of our one-line errors, so that the traceback would only distract.
    """

    def __init__(self, message: str, *, kind: str, traceback: str, is_expected: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback
        self.is_expected = is_expected


class WorkerDied(JobFailed):
    """The worker's process ended in the middle of a job, or the pool was stopped."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind=type(self).__name__, traceback="", is_expected=True)


class Worker:
    """One worker process; started for its first job, and again for the next job after it died."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self._starting = threading.Lock()
        self._running = threading.Lock()

    @property
    def gpus(self) -> list[str]:
        """The GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` names them."""
        return [gpu for gpu in self._environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]

    def run(self, function: str, job: Mapping[str, JSON]) -> JSON:
        """Call ``function`` (``"module:name"``) with ``job`` in the worker, and wait for what it returns.

        Raises:
            JobFailed: it raised, or its result is not JSON.
            WorkerDied: the process ended before it answered.
        """
        with self._running:
            process = self._live_process()
            try:
                line = _ask(process, json.dumps({"function": function, "job": job}))
            except BaseException:
                # What was interrupted here would answer the next job there.
                self._discard()
                raise
            if not line:
                self._discard()
                raise WorkerDied(self._death(process.returncode))
            reply = json.loads(line)
            if "result" in reply:
                return reply["result"]
            if not reply["is_expected"]:
                # What the error left behind (memory, a broken CUDA context) must not meet the next job.
                self._discard()
            raise _failed(reply)

    def kill(self) -> None:
        """End the process, in the middle of a job if need be, which then fails; it is not started again."""
        with self._starting:
            self._is_stopped = True
            process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """After `kill`: wait until nothing is left of the process."""
        with self._running:
            self._discard()

    def _live_process(self) -> subprocess.Popen[str]:
        with self._starting:
            if self._is_stopped:
                raise WorkerDied(STOPPED)
            if self._process is not None and self._process.poll() is not None:
                self._discard()
            if self._process is None:
                self._process = self._start()
            return self._process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
            # A broken pipe has something left that cannot be flushed.
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("a") as log:
            return subprocess.Popen(
                # -P: the current folder is searched only if this process searches it.
                [sys.executable, "-P", "-X", "faulthandler", "-m", "tasks.workers.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environment},
            )

    def _death(self, code: int) -> str:
        if self._is_stopped:
            return STOPPED
        return f"its worker process {how_it_ended(code)}; see {self._log}"


def how_it_ended(code: int) -> str:
    """What the return code of a process says of its end; it is negative after a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    how = f"was killed by {signal.Signals(-code).name}"
    return f"{how}, as the kernel does when memory runs out" if code == -signal.SIGKILL else how


def _ask(process: subprocess.Popen[str], line: str) -> str:
    """The reply to one line; empty if the process ended without one. What comes before the reply is logged."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line + "\n")
        process.stdin.flush()
    while (line := process.stdout.readline()).endswith("\n"):
        if "notice" not in (said := json.loads(line)):
            return line
        log.log(said["level"], "%s", said["notice"])
    return ""


def _failed(reply: Mapping[str, JSON]) -> JobFailed:
    message = (reply["message"].splitlines() or [""])[0]
    return JobFailed(
        message if reply["is_expected"] else f"{reply['kind']}: {message}",
        kind=reply["kind"],
        traceback=reply["traceback"],
        is_expected=reply["is_expected"],
    )


class Pool:
    """A fixed number of workers, for the threads of this process.

    Args:
        n_workers: how many jobs run at a time.
        threads: CPU threads of each.
        home: folder of the project, for the logs (``logs/worker-<n>.log``).
        gpus: what ``CUDA_VISIBLE_DEVICES`` may be, dealt to the workers in turn; empty leaves it as it is.
        label: in front of the number in the names of the logs.
    """

    def __init__(self, *, n_workers: int, threads: int, home: Path, gpus: Sequence[str] = (), label: str = "") -> None:
        environment = {
            **QUIET,
            **dict.fromkeys(THREADS, str(threads)),
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        }
        self._workers = [
            Worker(
                home / "logs" / f"worker-{label}{n}.log",
                {**environment, "CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else environment,
            )
            for n in range(n_workers)
        ]
        # Last in, first out: a worker that has its libraries loaded goes first.
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._idle.put(worker)

    @property
    def n_workers(self) -> int:
        """How many jobs run at a time."""
        return len(self._workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def worker(self) -> Iterator[Worker]:
        """An idle worker, for this thread alone; waits until there is one."""
        worker = self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put(worker)

    def stop(self) -> None:
        """Kill all workers at once; jobs under way and later ones fail with `WorkerDied`."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.close()
