"""Workers run jobs, die, are stopped and go away with their parent: with real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts.identity.keys import JSON
from tasks.workers.pool import JobFailed, Pool, WorkerDied
from tests.places import ROOT

TIMEOUT_MS = 200_000


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(n_workers=1, threads=3, home=tmp_path) as pool:
        yield pool


@pytest.fixture
def pid_pipe(tmp_path: Path) -> Iterator[int]:
    """Through ``tmp_path / "pid"``, `tests.toy_jobs.hang` says that it runs, and where."""
    os.mkfifo(tmp_path / "pid")
    pipe = os.open(tmp_path / "pid", os.O_RDONLY | os.O_NONBLOCK)
    yield pipe
    os.close(pipe)


def run(pool: Pool, name: str, job: Mapping[str, JSON] | None = None) -> JSON:
    with pool.worker() as worker:
        return worker.run(f"tests.toy_jobs:{name}", job or {})


def wait_for(fd: int) -> None:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    assert poller.poll(TIMEOUT_MS), "nothing happened in time"


def read_pid(pipe: int) -> int:
    wait_for(pipe)
    return int(os.read(pipe, 100))


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    wait_for(process)
    os.close(process)


def start_parent(home: Path, *, script: str) -> subprocess.Popen[str]:
    """Another process with a pool of its own, in a process group of its own, as at a terminal."""
    path = home / "parent.py"
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path), str(home)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


HANGING = """
import sys
from pathlib import Path
from tasks.workers.pool import Pool
home = Path(sys.argv[1])
with Pool(n_workers=2, threads=1, home=home) as pool, pool.worker() as worker:
    worker.run("tests.toy_jobs:hang", {"pid": str(home / "pid")})
"""

# As the console script does: the main module imports our packages before any worker starts.
HEAVY_MAIN = """
import sys
from pathlib import Path
import w2s_core.config
from tasks.workers.pool import Pool
with Pool(n_workers=1, threads=1, home=Path(sys.argv[1])) as pool, pool.worker() as worker:
    print(worker.run("tests.toy_jobs:imported", {"names": ["w2s_core", "w2s_core.config"]}))
    print(worker.run("tests.toy_jobs:recorded", {}))
"""


def test_result_of_a_job_comes_back(pool: Pool) -> None:
    assert run(pool, "add", {"a": 1, "b": 2}) == {"sum": 3}


def test_worker_is_kept_for_the_next_job(pool: Pool) -> None:
    assert run(pool, "where")["pid"] == run(pool, "where")["pid"] != os.getpid()


def test_worker_has_the_environment_of_a_stage(pool: Pool) -> None:
    names = ["OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_PROGRESS_BARS"]
    found = run(pool, "where", {"names": names})
    assert [found[name] for name in names] == ["3", "false", "1"]


def test_gpus_are_dealt_to_the_workers(tmp_path: Path) -> None:
    with (
        Pool(n_workers=3, threads=1, home=tmp_path, gpus=["4", "6"]) as pool,
        pool.worker() as first,
        pool.worker() as second,
        pool.worker() as third,
    ):
        job = {"names": ["CUDA_VISIBLE_DEVICES"]}
        found = [worker.run("tests.toy_jobs:where", job) for worker in (first, second, third)]
    assert [entry["CUDA_VISIBLE_DEVICES"] for entry in found] == ["4", "6", "4"]


def test_worker_imports_nothing_heavy_by_itself(pool: Pool) -> None:
    names = ["w2s_core", "torch", "transformers", "pyarrow", "prefect", "flows"]
    assert run(pool, "imported", {"names": names}) == []


@pytest.mark.slow
def test_torch_in_a_worker_uses_the_threads_it_was_given(tmp_path: Path) -> None:
    with Pool(n_workers=1, threads=1, home=tmp_path) as pool:
        assert run(pool, "threads") == 1


def test_sources_are_recorded_although_the_parent_imported_them_first(tmp_path: Path) -> None:
    parent = start_parent(tmp_path, script=HEAVY_MAIN)
    out, err = parent.communicate(timeout=TIMEOUT_MS / 1000)
    assert parent.returncode == 0, err
    assert out == "[]\nTrue\n"


def test_what_a_job_prints_goes_to_the_log_and_it_reads_nothing(pool: Pool, tmp_path: Path) -> None:
    assert run(pool, "talk") == ""
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "printed by a job\n"


def test_one_line_error_comes_back_as_expected_with_its_message_alone(pool: Pool) -> None:
    with pytest.raises(JobFailed, match=r"^score/abc is not there$") as failure:
        run(pool, "refuse")
    assert (failure.value.kind, failure.value.is_expected) == ("MissingArtifact", True)


def test_bug_comes_back_with_its_type_and_traceback(pool: Pool) -> None:
    with pytest.raises(JobFailed, match=r"^ZeroDivisionError: first line$") as failure:
        run(pool, "break_down")
    assert not failure.value.is_expected
    assert 'raise ZeroDivisionError("first line' in failure.value.traceback


def test_result_that_is_not_json_fails_the_job(pool: Pool) -> None:
    with pytest.raises(JobFailed, match="TypeError: Object of type object is not JSON"):
        run(pool, "return_object")


def test_worker_is_kept_after_a_one_line_error_but_not_after_a_bug(pool: Pool) -> None:
    pids = []
    for name in ("refuse", "break_down"):
        pids.append(run(pool, "where")["pid"])
        with pytest.raises(JobFailed):
            run(pool, name)
    pids.append(run(pool, "where")["pid"])
    assert pids[0] == pids[1] != pids[2]


@pytest.mark.parametrize(
    ("job", "how"),
    [
        ({"signal": "SIGKILL"}, "killed by SIGKILL, as the kernel does when memory runs out; see"),
        ({"signal": "SIGTERM"}, "killed by SIGTERM; see"),
        ({"code": 7}, "exit code 7; see"),
    ],
)
def test_death_of_a_worker_fails_its_job_in_one_line(pool: Pool, job: dict[str, JSON], how: str) -> None:
    with pytest.raises(WorkerDied, match=how) as failure:
        run(pool, "die", job)
    assert failure.value.is_expected
    assert "\n" not in str(failure.value)


def test_dead_worker_is_replaced_for_the_next_job(pool: Pool) -> None:
    with pytest.raises(WorkerDied):
        run(pool, "die", {"code": 1})
    assert run(pool, "add", {"a": 1, "b": 1}) == {"sum": 2}


def test_worker_that_died_between_jobs_is_replaced(pool: Pool) -> None:
    pid = run(pool, "where")["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert run(pool, "where")["pid"] != pid


def test_many_threads_share_few_workers(tmp_path: Path) -> None:
    with Pool(n_workers=2, threads=1, home=tmp_path) as pool, ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda a: run(pool, "add", {"a": a, "b": 1})["sum"], range(40)))
    assert found == list(range(1, 41))


def test_stop_ends_a_job_under_way_and_those_that_wait(pool: Pool, tmp_path: Path, pid_pipe: int) -> None:
    with ThreadPoolExecutor(2) as threads:
        jobs = [
            threads.submit(run, pool, "hang", {"pid": str(tmp_path / "pid")}),
            threads.submit(run, pool, "hang", {"pid": str(tmp_path / "pid")}),
        ]
        pid = read_pid(pid_pipe)
        pool.stop()
        for job in jobs:
            with pytest.raises(WorkerDied, match=r"^the workers were stopped$"):
                job.result(TIMEOUT_MS / 1000)
    wait_until_gone(pid)


def test_ctrl_c_at_the_worker_changes_nothing(pool: Pool) -> None:
    pid = run(pool, "where")["pid"]
    os.kill(pid, signal.SIGINT)
    assert run(pool, "where")["pid"] == pid


def test_ctrl_c_at_the_terminal_ends_parent_and_workers(tmp_path: Path, pid_pipe: int) -> None:
    parent = start_parent(tmp_path, script=HANGING)
    worker = read_pid(pid_pipe)
    os.killpg(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=TIMEOUT_MS / 1000)
    assert err.rstrip().endswith("KeyboardInterrupt")
    wait_until_gone(worker)
    assert (tmp_path / "logs" / "worker-0.log").read_text() == ""


def test_workers_go_away_when_their_parent_is_killed(tmp_path: Path, pid_pipe: int) -> None:
    parent = start_parent(tmp_path, script=HANGING)
    worker = read_pid(pid_pipe)
    parent.kill()
    parent.communicate()
    wait_until_gone(worker)


def test_interrupted_wait_does_not_mix_up_answers(pool: Pool, tmp_path: Path, pid_pipe: int) -> None:
    def interrupt() -> None:
        read_pid(pid_pipe)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        run(pool, "hang", {"pid": str(tmp_path / "pid")})
    interrupter.join()
    assert run(pool, "add", {"a": 2, "b": 2}) == {"sum": 4}
