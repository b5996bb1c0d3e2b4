"""Tests of ``artifacts.store.claims``; claims of killed processes are in ``crash``."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from artifacts import files
from artifacts.errors import Stopped
from artifacts.store.local import LocalStore
from tests.toy_artifacts import KEY, STAGE

OTHER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_claim_shows_who_holds_it(store: LocalStore) -> None:
    with store.claim(STAGE, KEY, label="boolq train_gt tiny"):
        (claim,) = store.running()
    assert (claim.stage, claim.key, claim.label) == (STAGE, KEY, "boolq train_gt tiny")
    assert claim.pid
    assert claim.host
    assert claim.since.endswith("+00:00")


def test_released_claim_leaves_nothing(store: LocalStore) -> None:
    with store.claim(STAGE, KEY):
        pass
    assert store.running() == []
    assert files.names(store.root / "claims") == []


def test_claims_on_different_keys_do_not_wait_for_each_other(store: LocalStore) -> None:
    with store.claim(STAGE, KEY), store.claim(STAGE, OTHER):
        assert [claim.key for claim in store.running()] == [KEY, OTHER]


def test_waiter_gets_the_claim_when_it_is_released(store: LocalStore) -> None:
    order: list[str] = []

    def wait() -> None:
        with store.claim(STAGE, KEY):
            order.append("second")

    with store.claim(STAGE, KEY):
        waiter = threading.Thread(target=wait)
        waiter.start()
        order.append("first")
    waiter.join()
    assert order == ["first", "second"]


def test_waiting_for_a_claim_can_be_stopped(store: LocalStore) -> None:
    stop = threading.Event()
    stop.set()
    with (
        store.claim(STAGE, KEY),
        pytest.raises(Stopped, match="stopped while waiting for boolq, held by process"),
        store.claim(STAGE, KEY, label="boolq", stop=stop),
    ):
        pass


def test_claim_without_content_is_shown_all_the_same(store: LocalStore) -> None:
    with store.claim(STAGE, KEY):
        next((store.root / "claims").iterdir()).write_text("")
        assert [(claim.key, claim.pid) for claim in store.running()] == [(KEY, 0)]
