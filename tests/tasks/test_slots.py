"""Tests of ``tasks.slots``: which slots a training needs, where they are, and that nobody holds one twice."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.errors import Stopped, UsageError
from artifacts.waiting import STOP
from tasks import slots
from tasks.devices import Machine
from tasks.slots import folder, holding, slots_needed

CPU = Machine("cpu", 2, 1, [])

HOLD = """
import sys
from tasks.slots import holding
with holding([sys.argv[1:]], "a training"):
    print(flush=True)
    sys.stdin.read()
"""


def hold(*names: str) -> subprocess.Popen[str]:
    """Another process, which holds one of these slots when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_training_on_a_cpu_needs_one_of_as_many_slots_as_there_are_workers() -> None:
    assert slots_needed(CPU, [], 1) == [["cpu-0", "cpu-1"]]


def test_training_on_gpus_needs_a_slot_of_each_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_uuids", lambda: {"0": "GPU-b", "1": "GPU-a"})
    machine = Machine("cuda", 2, 1, ["0,1", "2,3"])
    assert slots_needed(machine, ["0", "1"], 2) == [["gpu-GPU-a-0"], ["gpu-GPU-b-0"]]
    assert slots_needed(machine, ["0", "1"], 1) == [["gpu-GPU-b-0"]]
    assert slots_needed(machine, ["2", "3"], 1) == [["gpu-2-0"]]


def test_gpu_takes_as_many_trainings_as_the_grid_has_workers_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "_uuids", dict)
    assert slots_needed(Machine("cuda", 2, 1, ["0"]), ["0"], 1) == [["gpu-0-0", "gpu-0-1"]]


def test_slot_ends_with_its_holder_even_if_that_is_killed() -> None:
    holder = hold("cpu-0")
    STOP.set()
    try:
        with (
            pytest.raises(Stopped, match=rf"a device slot \(cpu\), held by process {holder.pid} .*\(a training\)"),
            holding([["cpu-0"]], "another"),
        ):
            pass
    finally:
        STOP.clear()
    holder.kill()
    holder.communicate()
    with holding([["cpu-0"]], "another"):
        pass


def test_slots_are_shared_by_all_users_of_a_machine(tmp_path: Path) -> None:
    with holding([["cpu-0"]], "a training"):
        pass
    assert stat.S_IMODE(folder().stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder() / "cpu-0").stat().st_mode) == 0o666


def test_slots_lie_where_everybody_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("W2S_SLOTS")
    ours, shared = tmp_path / "ours", tmp_path / "shared"
    ours.mkdir()
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(slots, "SHARED", (str(tmp_path / "absent"), str(ours), str(shared)))
    assert folder() == shared / "w2s-slots"


def test_link_in_place_of_the_shared_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("W2S_SLOTS")
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(slots, "SHARED", (str(tmp_path),))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "w2s-slots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"^W2S_SLOTS: .*w2s-slots is no folder; name another"):
        folder()


def test_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("W2S_SLOTS", str(tmp_path / "file" / "slots"))
    with pytest.raises(UsageError, match=r"^W2S_SLOTS: .*file/slots cannot be made \(Not a directory\)"):
        folder()
