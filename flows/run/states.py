"""How a flow run of ours shows in Prefect: its name, and a failure as one line.

What a run did is said in ``flows.run.grid`` and ``flows.run.by_dataset``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import prefect
from coolname.data import config as WORD_LISTS
from prefect.exceptions import FailedRun, ParameterTypeError
from prefect.states import State

from flows.plan.grid import GridConfig

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

MOST_NAMES = 3
"""Of datasets or methods in the name of a run; more are counted."""


def run_name(config: GridConfig) -> str:
    """What tells a run of a grid from others in a list: grid, datasets and methods."""
    methods = [method if isinstance(method, str) else method.name for method in config.methods]
    return " · ".join([config.name, _few(config.datasets, "datasets"), _few(methods, "methods")])


def _few(names: Sequence[str], what: str) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} {what}"


def typed_name() -> str | None:
    """The name that somebody gave the flow run of this context, or it had before it was tried again."""
    name: str = prefect.runtime.flow_run.name
    return None if is_generated(name) else name


def is_generated(name: str) -> bool:
    """Whether the server may have made up the name of a flow run: adjective and animal, with a hyphen between."""
    adjective, _, animal = name.partition("-")
    return adjective in _words("adj_any") and animal in _words("subj")


@cache
def _words(name: str) -> frozenset[str]:
    words: Mapping[str, Any] = WORD_LISTS[name]
    return frozenset(words.get("words", ())).union(*map(_words, words.get("lists", ())))


def told(state: State[Any], logger: Logger) -> State[Any]:
    """A final state; a failure is in the log, too."""
    if state.is_failed():
        logger.error("%s", state.message)
    return state


class _Told(logging.Filter):
    """Leaves out what Prefect's engine adds to the log of a flow run that has said why it failed: its own traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, FailedRun | ParameterTypeError)


def leave_out_tracebacks() -> None:
    """For the flow runs of this process, which return their failures as states, or were refused by their form."""
    logging.getLogger("prefect.flow_runs").addFilter(_Told())
