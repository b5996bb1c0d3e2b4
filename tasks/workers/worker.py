"""The process that runs stages: one JSON job per line in, one JSON reply per line out, until its parent is gone.

Started as ``python -m tasks.workers.worker`` by ``pool``, so that nothing of ours is imported before the sources of
``w2s_core`` are being recorded (a ``multiprocessing`` child would import the parent's main module first). What jobs
print goes to the log; what they log as ``w2s`` is also sent to the parent, before the reply.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from typing import TextIO

from artifacts.errors import W2sError
from artifacts.identity.keys import JSON
from artifacts.identity.loaded import record
from tasks import LOGGERS, PACKAGE


def main() -> None:
    """Serve jobs from standard input until it ends."""
    # Ctrl-C is for the parent, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    record(PACKAGE)
    jobs_in, replies = _take_over_streams()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs_in, jobs), daemon=True).start()
    notices = _Notices(replies)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(notices)
    while True:
        notices.send(_reply(jobs.get()))


class _Notices(logging.Handler):
    """Sends what is logged to the parent, and to this process's own log."""

    def __init__(self, replies: TextIO) -> None:
        super().__init__()
        self._replies = replies
        self._sending = threading.Lock()

    def send(self, line: str) -> None:
        """Write one line, into the middle of which no other thread writes."""
        with self._sending:
            self._replies.write(line + "\n")
            self._replies.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        text = record.getMessage()
        print(text, flush=True)
        self.send(json.dumps({"notice": text, "level": record.levelno}))


def _take_over_streams() -> tuple[TextIO, TextIO]:
    """Keep standard input and output for messages; jobs get an empty input, and the log as output."""
    jobs_in, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return jobs_in, replies


def _read_jobs(jobs_in: TextIO, jobs: queue.SimpleQueue[str]) -> None:
    for line in jobs_in:
        jobs.put(line)
    # The parent closed the pipe, or died: whatever runs here, nobody waits for it any more.
    os._exit(0)


def _reply(line: str) -> str:
    order = json.loads(line)
    module, _, function = order["function"].partition(":")
    try:
        result: JSON = getattr(importlib.import_module(module), function)(order["job"])
        return json.dumps({"result": result})
    except Exception as error:  # it is reported, with its traceback, as the failure of the job
        traceback.print_exc()
        sys.stderr.flush()
        return json.dumps(failure(error))


def failure(error: Exception) -> dict[str, JSON]:
    """What is told of an error to the process that waits; of an error in yet another process, what that one told."""
    if hasattr(error, "failure"):
        return error.failure
    from w2s_core.errors import DataError, TrainingError

    return {
        "kind": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        "is_expected": isinstance(error, (W2sError, DataError, TrainingError)),
    }


if __name__ == "__main__":
    main()
