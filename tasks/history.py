"""Sends what Prefect's threads in this process hold, events and logs, before the process or the server goes."""

from __future__ import annotations

from artifacts.waiting import STOP

SEND_TIMEOUT_S = 20

HURRY_S = 2
"""Instead, when the process is to end."""


def send_all() -> None:
    """Wait until everything is sent."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (EventsWorker, APILogWorker):
        service.drain_all(timeout=HURRY_S if STOP.is_set() else SEND_TIMEOUT_S)
