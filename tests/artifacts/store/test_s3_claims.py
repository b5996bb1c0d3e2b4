"""Tests of ``artifacts.store.s3.claims``: who holds, who waits, and what happens when a holder falls silent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from artifacts.errors import Stopped
from artifacts.store.s3.claims import BEAT_S, S3Claims, S3Hold
from artifacts.store.s3.objects import Objects
from artifacts.waiting import Wait
from tests.s3_server import Service

NAME = "train_gt-" + "a" * 64
ABOUT = {"label": "boolq train_gt"}


class Waiting:
    """Time that passes only while somebody waits for a claim.

    Args:
        at: what happens when so many seconds have passed.
        step_s: how long each pause takes, however long it was to be; None: as long as it was to be.
    """

    def __init__(self, at: dict[float, Callable[[], object]] | None = None, step_s: float | None = None) -> None:
        self.now = 0.0
        self._at = dict(at or {})
        self._step_s = step_s

    def claims(self, objects: Objects) -> S3Claims:
        return S3Claims(objects, "claims", clock=lambda: self.now, pause=self._pause)

    def _pause(self, wait: Wait, longest_s: float) -> None:
        self.now += longest_s if self._step_s is None else self._step_s
        for due in [moment for moment in self._at if moment <= self.now]:
            self._at.pop(due)()
        wait.look()


@pytest.fixture
def objects(s3_url: str) -> Objects:
    return Objects(s3_url)


@pytest.fixture
def holder(objects: Objects) -> S3Hold:
    """Another process that holds the claim."""
    return S3Claims(objects, "claims").take(NAME, ABOUT)


def numbers(objects: Objects) -> list[str]:
    return [entry.path.rpartition("/")[2] for entry in objects.entries("claims/")]


def test_free_claim_is_had_at_once(objects: Objects) -> None:
    waiting = Waiting()
    hold = waiting.claims(objects).take(NAME, ABOUT)
    assert waiting.now == 0
    assert numbers(objects) == ["000001"]
    hold.release()


def test_released_claim_leaves_nothing(objects: Objects, holder: S3Hold) -> None:
    holder.release()
    assert numbers(objects) == []


def test_claim_that_is_held_can_be_waited_for(objects: Objects, holder: S3Hold) -> None:
    waiting = Waiting({5.0: holder.release})
    hold = waiting.claims(objects).take(NAME, ABOUT)
    assert 5 <= waiting.now < 10
    hold.release()


def test_silent_holder_is_succeeded_after_a_minute(
    objects: Objects, holder: S3Hold, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting()
    with caplog.at_level(logging.WARNING, logger="w2s.store"):
        hold = waiting.claims(objects).take(NAME, ABOUT)
    assert 60 <= waiting.now < 65
    assert caplog.messages == ["boolq train_gt: its holder is silent; taken over"]
    assert numbers(objects) == ["000002"]
    hold.release()
    assert numbers(objects) == []


def test_holder_that_beats_keeps_its_claim(objects: Objects, holder: S3Hold) -> None:
    beats = {float(moment): holder.beat for moment in range(40, 200, 40)}
    waiting = Waiting({**beats, 200.0: holder.release})
    hold = waiting.claims(objects).take(NAME, ABOUT)
    assert 200 <= waiting.now < 205
    assert numbers(objects) == ["000001"]
    hold.release()


def test_time_in_which_the_service_was_away_is_no_silence(objects: Objects, holder: S3Hold) -> None:
    waiting = Waiting(step_s=100.0)
    hold = waiting.claims(objects).take(NAME, ABOUT)
    assert waiting.now >= 100 * (60 / BEAT_S)
    hold.release()


def test_two_waiters_do_not_both_succeed_a_silent_holder(objects: Objects, holder: S3Hold) -> None:
    first = Waiting().claims(objects).take(NAME, ABOUT)
    late = Waiting({30.0: first.release})
    second = late.claims(objects).take(NAME, ABOUT)
    assert late.now >= 30
    second.release()


def test_claim_that_changed_while_it_was_succeeded_stays(objects: Objects, holder: S3Hold) -> None:
    claims = Waiting().claims(objects)
    last = claims._last(NAME)
    assert last is not None
    holder.beat()
    assert claims._succeed(NAME, last, ABOUT) is None
    assert numbers(objects) == ["000001"]


def test_holder_that_was_succeeded_learns_it(objects: Objects, holder: S3Hold) -> None:
    hold = Waiting().claims(objects).take(NAME, ABOUT)
    assert not holder.beat()
    hold.release()


def test_late_release_spares_the_claim_of_another(objects: Objects, holder: S3Hold) -> None:
    Waiting().claims(objects).take(NAME, ABOUT).release()
    another = Waiting().claims(objects).take(NAME, ABOUT)
    holder.release()
    assert numbers(objects) == ["000001"]
    another.release()
    assert numbers(objects) == []


def test_holder_whose_answers_were_lost_knows_its_claim(objects: Objects, s3_service: Service) -> None:
    s3_service.lost += ["000001", "000001"]
    hold = Waiting().claims(objects).take(NAME, ABOUT)
    assert hold.beat()
    assert not s3_service.lost
    hold.release()
    assert numbers(objects) == []


def test_waiting_can_be_stopped(objects: Objects, holder: S3Hold) -> None:
    stop = threading.Event()
    waiting = Waiting({5.0: stop.set})
    with pytest.raises(Stopped, match="stopped while waiting for boolq train_gt, held by another process"):
        waiting.claims(objects).take(NAME, ABOUT, stop)
