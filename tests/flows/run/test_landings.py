"""Landings while a run goes on; what they land is for the tests of ``artifacts.results``."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path

import pytest

from artifacts.errors import CorruptArtifact, Stopped
from artifacts.results.query import run_query
from flows.run.drain import Order
from flows.run.landings import Landings
from tests.toy_runs import open_session, submitter

SOON_S = 30
"""Longer than anything here takes."""


class Lander:
    """Counts landings; the first one fails as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.n = 0
        self.landed = threading.Semaphore(0)

    def __call__(self, stop: threading.Event) -> None:
        self.n += 1
        error, self.error = self.error, None
        self.landed.release()
        if error is not None:
            raise error


def test_news_land_and_without_news_nothing_does() -> None:
    lander = Lander()
    with Landings(lander, pause_s=0) as landings:
        for _ in range(3):
            landings.tell()
            assert lander.landed.acquire(timeout=SOON_S)
    assert lander.n == 3


def test_news_do_not_land_before_the_pause_is_over() -> None:
    lander = Lander()
    with Landings(lander, pause_s=SOON_S) as landings:
        landings.tell()
    assert lander.n == 0


def test_landing_that_goes_on_is_told_to_stop_when_the_run_ends() -> None:
    began, stopped = threading.Event(), threading.Event()

    def land(stop: threading.Event) -> None:
        began.set()
        assert stop.wait(SOON_S)
        stopped.set()
        raise Stopped("stopped")

    with Landings(land, pause_s=0) as landings:
        landings.tell()
        assert began.wait(SOON_S)
    assert stopped.is_set()


def test_landing_that_fails_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    lander = Lander(CorruptArtifact("toy.json is no grid file"))
    with caplog.at_level(logging.WARNING, "w2s.results"), Landings(lander, pause_s=0) as landings:
        for _ in range(2):
            landings.tell()
            assert lander.landed.acquire(timeout=SOON_S)
    assert [record.getMessage() for record in caplog.records] == [
        "results cannot be shown while the run goes on: toy.json is no grid file"
    ]


def test_results_appear_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    landed = threading.Semaphore(0)

    class Told(Landings):
        def _run(self) -> None:
            land = self._land

            def told(stop: threading.Event) -> None:
                land(stop)
                landed.release()

            self._land = told
            super()._run()

    monkeypatch.setattr("flows.run.session.Landings", partial(Told, pause_s=0))
    session = open_session(tmp_path)
    submit = submitter(session, [])
    seen: list[str] = []

    def submit_after_landing(order: Order, ended: object) -> None:
        if order["stage"] == "train_w2s" and not seen:
            assert landed.acquire(timeout=SOON_S)
            [row] = run_query(session.home.results, "SELECT state FROM grids").to_pylist()
            seen.append(row["state"])
        submit(order, ended)  # type: ignore[arg-type]

    session.run(submit_after_landing, n_at_once=1)

    assert seen == ["running"]
    assert run_query(session.home.results, "SELECT state FROM grids").to_pylist() == [{"state": "complete"}]
