"""Ctrl-C, SIGTERM and SIGKILL at any moment of a run: it ends within seconds, leaves nothing, and the next goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts.waiting import notices
from flows.run.interrupts import GRACE
from tests.homes import DEADLINE_S, GRACE_S, LONG, TICK, Runs

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    # Its server looks for itself whether anybody uses it.
    runs.wait_until_gone()


def wait_until(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if is_so():
            return
        assert process.poll() is None, process.communicate()[0]
        TICK.wait(0.05)
    raise AssertionError("it did not come to that")


def end(process: subprocess.Popen[str], number: int) -> str:
    """Send a signal; what was printed, if the process ends in time, by it, in words."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    return output


@contextlib.contextmanager
def all_slots_held(runs: Runs) -> Iterator[int]:
    """Another process has the device slots of this machine."""
    hold = "import sys; from tasks.slots import holding\nwith holding([['cpu-0'], ['cpu-1']], 'boolq train_gt x'): "
    code = hold + "print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    yield holder.pid
    holder.kill()
    holder.communicate()


def cannot_end_in_order(runs: Runs) -> subprocess.Popen[str]:
    """A run in a training, whose server makes whoever asks it wait."""
    process = runs.command("run", runs.grid(training=LONG))
    runs.wait_for_training(process)
    os.kill(json.loads((runs.home / "prefect" / "server.json").read_text())["pid"], signal.SIGSTOP)
    return process


def test_signal_at_any_moment_while_the_server_starts_ends_the_run(runs: Runs) -> None:
    for moment_s in (0, 0.02, 0.025, 0.03, 0.1, 0.6, 0.8, 0.9):  # the first ones meet imports of another thread
        process = runs.command("run", runs.grid())
        wait_until((runs.home / "prefect" / "server.json").exists, process)
        TICK.wait(moment_s)

        assert "go on with: w2s run" in end(process, signal.SIGTERM)


def test_signal_in_a_training_ends_the_run_and_cancels_it(runs: Runs) -> None:
    process = runs.command("run", runs.grid(training=LONG))
    runs.wait_for_training(process)

    output = end(process, signal.SIGINT)

    assert "go on with: w2s run" in output
    assert "failed" not in output
    assert "blocked" not in output


def test_run_that_waits_for_a_slot_says_who_has_it_and_ends_when_told_to(runs: Runs) -> None:
    with all_slots_held(runs) as holder:
        process = runs.command("run", runs.grid(), "--workers", "2")
        wait_until(lambda: len(notices(runs.home)) == 2, process)
        status = runs.run("status")[1]

        output = end(process, signal.SIGTERM)

    held = f"a device slot (cpu), held by process {holder} on "
    assert f"w2s: waiting for {held}" in output
    assert "(boolq train_gt x) since 20" in output
    assert f"for {held}" in status
    assert runs.run("run", runs.grid())[0] == 0


def test_run_that_cannot_end_in_order_ends_all_the_same(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GRACE, "1")
    process = cannot_end_in_order(runs)

    end(process, signal.SIGINT)


def test_second_signal_ends_a_run_at_once_that_cannot_end_in_order(runs: Runs) -> None:
    process = cannot_end_in_order(runs)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)

    process.send_signal(signal.SIGINT)

    process.communicate(timeout=float(GRACE_S) / 2)
    assert process.returncode == 130


def test_run_whose_home_is_removed_ends_with_one_line(runs: Runs) -> None:
    process = runs.command("run", runs.grid(training=LONG))
    runs.wait_for_training(process)
    runs.home.rename(runs.folder / "elsewhere")

    output, _ = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 1
    assert output.rstrip().endswith(f"w2s: {runs.home} has been removed while the run went on")
    assert "Traceback" not in output
    shutil.rmtree(runs.home, ignore_errors=True)


def test_twenty_kills_at_random_moments_lose_nothing_and_stop_nobody(runs: Runs) -> None:
    chance = random.Random(0)
    seen: dict[str, int] = {}
    seed = 0
    for _ in range(20):
        process = runs.command("run", runs.grid(seeds=[seed]))
        try:
            output, _ = process.communicate(timeout=chance.uniform(1, 15))
            assert process.returncode == 0, output
            seed += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        there = {str(path): path.stat().st_mtime_ns for path in runs.home.glob("store/*/*/manifest.json")}
        assert {name: there.get(name) for name in seen} == seen
        seen = there
    assert runs.run("store", "verify")[0] == 0

    assert runs.run("run", runs.grid(seeds=[seed]))[0] == 0
