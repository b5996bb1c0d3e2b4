"""Starts one ``tasks.workers.child`` per device through Accelerate's launcher, and ends as one of them that failed.

``python -m tasks.workers.launcher DEVICES FOLDER``. Accelerate's own command would tell of any failure by exit code 1.
"""

from __future__ import annotations

import os
import signal
import sys

BY_SIGNAL = 128
"""Exit codes above this stand for signals, as in a shell."""


def main() -> None:
    """Run to the end of all processes."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    n_devices, folder = sys.argv[1:]
    # Every option that Accelerate would else take from a configuration file of the user's. What it calls multi-GPU are
    # several processes, whatever they compute on.
    options = {
        "num_processes": n_devices,
        "num_machines": "1",
        "machine_rank": "0",
        "main_process_port": "0",  # any that is free
        "mixed_precision": "no",
        "dynamo_backend": "no",
        "gpu_ids": "all",
        "num_cpu_threads_per_process": os.environ["OMP_NUM_THREADS"],
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments += ["--multi_gpu", "--module", "tasks.workers.child", folder]
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        # The launcher ends those that are left by SIGTERM, which says nothing of why.
        codes = codes - {-signal.SIGTERM} or codes
        sys.exit(BY_SIGNAL - min(codes) if min(codes) < 0 else max(codes))


if __name__ == "__main__":
    main()
