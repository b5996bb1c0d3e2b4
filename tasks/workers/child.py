"""A process that runs the entry of one stage, alone or as one of several that train a model together.

``python -m tasks.workers.child FOLDER``, started by ``isolated``: reads the job from the folder, and leaves there what
the entry gave, or how it failed. It ends with the worker that it works for.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from artifacts.identity.keys import JSON
from artifacts.identity.loaded import loaded, record
from tasks import PACKAGE
from tasks.workers.entry import FAILURE, JOB, RESULT
from tasks.workers.worker import failure

DONE, FAILED = 0, 1
"""Exit codes."""


def main() -> None:
    """Run the entry of the job."""
    record(PACKAGE)
    faulthandler.enable()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    try:
        _run(folder)
    except Exception as error:  # it is reported, with its traceback, as the failure of the stage
        traceback.print_exc()
        _put(folder / FAILURE, failure(error))
        # Without cleaning up, for which the other processes would be needed; they wait in the middle of a model.
        _exit(FAILED)
    # Everything is written. Threads of gloo that still live when an interpreter cleans up can abort the process.
    _exit(DONE)


def _end_with_parent() -> None:
    # The worker never writes to it.
    os.read(0, 1)
    os._exit(FAILED)


def _exit(code: int) -> NoReturn:
    """End at once, with what was printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(folder: Path) -> None:
    from tasks.workers.entry import check_code, entry_of, run_watched
    from tasks.workers.watch import NodeWatch
    from w2s_core.training.distributed import leave
    from w2s_core.watch import Silent

    job = json.loads((folder / JOB).read_text())
    order, n_devices = job["order"], job["n_devices"]
    rank = int(os.environ.get("RANK", "0"))
    check_code(order, loaded(PACKAGE), "loaded")
    inputs, draft = {name: Path(path) for name, path in job["inputs"].items()}, Path(job["draft"])
    watch = NodeWatch(order, Path(job["home"]), job["device"], job["runtime"], n_devices)
    if rank == 0:
        _put(folder / RESULT, run_watched(order, inputs, draft, watch)._asdict())
    else:
        knobs = ("device", "n_devices", "scratch", "micro_tokens", "gradient_checkpointing", "eval_at")
        quiet = Silent(**{knob: getattr(watch, knob) for knob in knobs})
        entry_of(order)(order["params"], inputs, draft, quiet)
    leave()


def _put(path: Path, content: JSON) -> None:
    """Write a file at once and whole, unless another process was first."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(content))
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)


if __name__ == "__main__":
    main()
