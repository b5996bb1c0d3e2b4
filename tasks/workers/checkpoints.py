"""Checkpoints of trainings under way: ``<home>/checkpoints/<key>/<step>/``, tensors as safetensors, the rest as JSON.

When one is taken, how it is written, and when it is too old or too different to go on from. What is in it is for the
training to say. A folder whose name is a number is whole: it is written under another name and renamed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from artifacts import files
from artifacts.identity.keys import JSON
from artifacts.store.contract import Removed
from w2s_core.watch import Checkpoint

EVERY_S = 5.0
"""Seconds from one checkpoint to the next, and from the start to the first, at least."""

MOST_TIME = 0.05
"""Share of the time that a training may be held up by copying its state, and the disk by writing it, at most."""

OLD_S = 14 * 24 * 3600.0
"""Age at which a checkpoint is waste."""

FORMAT = 1
TENSORS = "state.safetensors"
VALUES = "state.json"
VERSIONS = ("torch", "transformers", "peft", "numpy", "tokenizers")


def checkpoint_folder(home: Path, key: str) -> Path:
    """Where the checkpoints of the training with this key are."""
    return home / "checkpoints" / key


class DiskCheckpoints:
    """The checkpoints of one training, in a folder.

    Args:
        folder: need not exist.
        node: id of the node, by which ``sweep`` knows whether anybody needs it.
        runtime: the knobs that the bits of a result may depend on.
        device: ``"cpu"`` or ``"cuda"``.
        curve: rows of the curve so far: kept with the state, and put back in place.
        say: takes one line for the log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        node: str,
        runtime: Mapping[str, JSON],
        device: str,
        curve: list[dict[str, float]],
        say: Callable[[str], None],
    ) -> None:
        self.seconds_before = 0.0
        """What the training took until the state that it went on from."""
        self._folder = folder
        self._node = node
        self._runtime = dict(runtime)
        self._device = device
        self._curve = curve
        self._say = say
        self._started = time.monotonic()
        self._next = self._started + EVERY_S
        self._asked = self._started
        self._rested = self._started
        """When the disk may be written to again."""
        self._writer: threading.Thread | None = None
        self._identity: dict[str, JSON] = {}

    def resume(self, choices: Mapping[str, Any]) -> Checkpoint | None:
        """See ``w2s_core.watch.Checkpoints``; why a checkpoint does not serve is a line in the log."""
        self._identity = {**_surroundings(self._device), **self._runtime, **choices}
        names = [name for name in files.names(self._folder) if name.isdecimal()]
        for name in sorted(names, key=int, reverse=True):
            try:
                tensors, values = _read(self._folder / name)
                different = _difference(values["identity"], self._identity)
                if different is not None:
                    self._say(f"the checkpoint of step {name} is not used: {different}")
                    continue
                checkpoint = Checkpoint(int(name), tensors, values["training"])
                self._curve[:] = values["curve"]
                self.seconds_before = values["seconds"]
            except Exception as error:  # whatever it is, starting over is always right
                reason = str(error).partition("\n")[0]
                self._say(f"the checkpoint of step {name} cannot be read ({type(error).__name__}: {reason})")
                continue
            self._say(f"going on after step {name}, where a checkpoint was taken")
            return checkpoint
        if names:
            self._say("starting over")
        return None

    def is_due(self) -> bool:
        """Whether it is time, and the one before is written."""
        self._asked = time.monotonic()
        is_written = self._writer is None or not self._writer.is_alive()
        return is_written and self._asked >= max(self._next, self._rested)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write in the background, after what is being written; a failure is a line in the log."""
        self.wait()
        now = time.monotonic()
        self._next = now + max(EVERY_S, (now - self._asked) / MOST_TIME)
        values = {
            "node": self._node,
            "identity": self._identity,
            "seconds": self.seconds_before + now - self._started,
            "training": dict(checkpoint.values),
            "curve": list(self._curve),
        }
        self._writer = threading.Thread(target=self._write, args=(checkpoint, values), name="checkpoint")
        self._writer.start()

    def wait(self) -> None:
        """Until what is being written is written."""
        if self._writer is not None:
            self._writer.join()

    def _write(self, checkpoint: Checkpoint, values: dict[str, JSON]) -> None:
        name = str(checkpoint.step)
        temporary = self._folder / f".{name}"
        began = time.monotonic()
        try:
            files.remove(temporary)
            files.make_folder(temporary)
            _write(temporary, checkpoint.tensors, values)
            files.sync_tree(temporary)
            files.remove(self._folder / name)  # one that did not serve
            files.move(temporary, self._folder / name)
            for other in files.names(self._folder):
                if other != name:
                    files.remove(self._folder / other)
            ended = time.monotonic()
            self._rested = ended + (ended - began) / MOST_TIME
        except Exception as error:  # the training goes on without
            self._say(f"no checkpoint of step {name} was kept ({type(error).__name__}: {error})")


def sweep(
    home: Path, *, nodes: Callable[[], Collection[str]], running: Callable[[], Collection[str]], dry_run: bool
) -> list[Removed]:
    """Remove the checkpoints that nobody will go on from.

    Args:
        home: folder of the project.
        nodes: ids of the nodes that grids are about; asked for each checkpoint, after all were listed.
        running: keys that are being made at this moment; as ``nodes``.
        dry_run: only say what would go.
    """
    removed = []
    listed = [key for key in files.names(home / "checkpoints") if not key.startswith(".")]
    for key in listed:
        folder = checkpoint_folder(home, key)
        # Cheap where nothing has changed, and another run may want it by now.
        if _is_needed(folder, nodes()) or key in running():
            continue
        removed.append(Removed(f"checkpoints/{key}", files.tree_bytes(folder)))
        if not dry_run:
            files.remove(folder)
    return removed


def _is_needed(folder: Path, nodes: Collection[str]) -> bool:
    for values in folder.glob(f"[0-9]*/{VALUES}"):
        try:
            node = json.loads(files.read_text(values))["node"]
            is_young = time.time() - values.stat().st_mtime < OLD_S
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if is_young and node in nodes:
            return True
    return False


def _write(folder: Path, tensors: Mapping[str, Any], values: dict[str, JSON]) -> None:
    import safetensors.torch

    safetensors.torch.save_file(dict(tensors), folder / TENSORS)
    files.write_text(folder / VALUES, json.dumps({**values, "digest": _digest(folder / TENSORS)}))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, JSON]]:
    import safetensors.torch

    values = json.loads(files.read_text(folder / VALUES))
    if _digest(folder / TENSORS) != values["digest"]:
        raise ValueError(f"{TENSORS} is damaged")
    return safetensors.torch.load_file(folder / TENSORS), values


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(then: Mapping[str, JSON], now: Mapping[str, JSON]) -> str | None:
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            return f"{name} was {then.get(name)}, now it is {now.get(name)}"
    return None


def _surroundings(device: str) -> dict[str, JSON]:
    """What the bits of a result depend on besides code, parameters and inputs, which are in the key."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_name()
    return {"format": FORMAT, **versions, "device": name, "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    import torch

    model = ""
    path = Path("/proc/cpuinfo")
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model} {torch.backends.cpu.get_cpu_capability()}".strip()
