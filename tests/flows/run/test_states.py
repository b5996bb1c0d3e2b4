"""Names of flow runs; how their states and logs look on a server is in ``test_up``."""

from __future__ import annotations

import logging

import pytest
from prefect.exceptions import FailedRun
from prefect.utilities.names import generate_slug

from flows.plan.load import load_grid
from flows.run.states import is_generated, leave_out_tracebacks, run_name


def test_name_of_a_run_says_grid_datasets_and_methods() -> None:
    config = load_grid("quick", {"datasets": ["boolq", "sciq"], "methods": ["xent"]})
    assert run_name(config) == f"{config.name} · boolq, sciq · xent"


def test_many_datasets_are_counted() -> None:
    config = load_grid("nlp", {})
    assert run_name(config) == f"nlp · {len(config.datasets)} datasets · {', '.join(config.methods)}"


def test_name_that_the_server_made_up_is_known_as_such() -> None:
    assert all(is_generated(generate_slug(2)) for _ in range(200))


@pytest.mark.parametrize("name", ["", "mine", "lr-sweep", "second try", "quick · boolq · xent", "nlp-22"])
def test_name_that_somebody_typed_is_not_taken_for_one(name: str) -> None:
    assert not is_generated(name)


def test_log_of_a_flow_run_lacks_the_traceback_of_a_failure_that_was_returned(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_tracebacks()
    log = logging.getLogger("prefect.flow_runs")
    # Prefect's own would ask for a flow run.
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    for error in (FailedRun("told"), RuntimeError("ours to mend")):
        try:
            raise error
        except (FailedRun, RuntimeError):
            log.error("Engine execution exited with unexpected exception", exc_info=True)

    assert {str(record.exc_info[1]) for record in caplog.records if record.exc_info} == {"ours to mend"}
