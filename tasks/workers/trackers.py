"""Shows the curves of running trainings in TensorBoard or Weights & Biases, by the trackers of Accelerate.

A view only: the curve that counts is in the artifact, and a tracker that fails takes no training with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts import files
from artifacts.errors import UsageError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "w2s"
"""Where Weights & Biases puts all runs."""


def check_installed(names: Iterable[str]) -> None:
    """Refuse trackers whose packages, of the same names, are not installed.

    Raises:
        UsageError: one is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"runtime.trackers: {name} is not installed; pip install {name}")


class Trackers:
    """One run in each of some trackers, begun with the first row.

    Args:
        names: ``"tensorboard"``, ``"wandb"``.
        folder: for what they write.
        run: what they call the run.
        device: ``"cpu"`` or ``"cuda"``.
        say: takes one line for the log.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, *, run: str, device: str, say: Callable[[str], None]
    ) -> None:
        self._names = list(names)
        self._folder = folder
        self._run = run
        self._device = device
        self._say = say
        self._open: dict[str, GeneralTracker] = {}

    def log(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Show rows of the curve, each with its ``step``."""
        for row in rows:
            for name in list(self._names):
                self._try(name, partial(self._show, name, row))

    def close(self) -> None:
        """End the runs."""
        for name in list(self._open):
            self._try(name, self._open[name].finish)

    def _show(self, name: str, row: Mapping[str, float]) -> None:
        values = {column: value for column, value in row.items() if column != "step"}
        self._tracker(name).log(values, step=int(row["step"]))

    def _try(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # such as of the network; the training goes on without
            reason = str(error).partition("\n")[0]
            self._say(f"nothing more goes to {name} ({type(error).__name__}: {reason})")
            self._names.remove(name)
            self._open.pop(name, None)

    def _tracker(self, name: str) -> GeneralTracker:
        if name not in self._open:
            from accelerate import PartialState
            from accelerate.tracking import TensorBoardTracker, WandBTracker

            PartialState(cpu=self._device == "cpu")  # trackers ask it who they are
            files.make_folder(self._folder)
            if name == "tensorboard":
                tracker: GeneralTracker = TensorBoardTracker(self._run, self._folder)
            else:
                tracker = WandBTracker(PROJECT, name=self._run, dir=str(self._folder))
            tracker.start()
            self._open[name] = tracker
        return self._open[name]
