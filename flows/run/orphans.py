"""Runs in Prefect whose process is gone: they are marked as crashed, with all that they left behind.

Prefect marks a flow run itself when what started it outlives it, and by an automation where heartbeats are missed. The
task runs of such a run it leaves as they are, and for long the flow runs in the same process. None of this decides
what is done: the store does.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.settings import get_current_settings
from prefect.states import Crashed

MISSED = 3
"""Heartbeats that a flow run may miss before it counts as crashed."""

SETTLE_S = 30
"""How long after a crash the server may still be writing what the process had said before it."""

HEARTBEAT = "prefect.flow-run.heartbeat"

GONE = "No heartbeat: its process is gone. Finished stages stay; run it again."

LEFT = "The process of its flow run is gone. Finished stages stay."

FLOWS = ("grid", "dataset", "w2s-grid", "report", "store-maintenance")
"""Names of our flows: others on the same server are not ours to judge."""

UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def silence() -> datetime.timedelta | None:
    """How long a flow run without heartbeats counts as alive; None where heartbeats are off."""
    every_s = get_current_settings().flows.heartbeat_frequency
    return None if every_s is None else datetime.timedelta(seconds=MISSED * every_s)


def crash_orphans() -> None:
    """Mark as crashed what nobody runs any more: flow runs without heartbeats, and what crashed ones left behind.

    In a flow run that was started before, also whatever is unfinished of that attempt.
    """
    now = datetime.datetime.now(datetime.UTC)
    with get_client(sync_client=True) as client:
        for run in _silent(client, now):
            client.set_flow_run_state(run.id, Crashed(message=GONE))
        crashed = filters.FlowRunFilter(
            state=_state([StateType.CRASHED]),
            end_time=filters.FlowRunFilterEndTime(before_=now - datetime.timedelta(seconds=SETTLE_S)),
        )
        _crash_rest(client, crashed)
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None and context.flow_run.run_count > 1:
            _crash_rest(client, _these([context.flow_run.id]))


def _silent(client: SyncPrefectClient, now: datetime.datetime) -> Iterable[FlowRun]:
    allowed = silence()
    if allowed is None:
        return
    unfinished = filters.FlowRunFilter(state=_state(UNFINISHED))
    for run in client.read_flow_runs(flow_filter=_ours(), flow_run_filter=unfinished):
        if run.state is None or run.state.timestamp > now - allowed:
            continue
        heartbeats = EventFilter(
            event=EventNameFilter(name=[HEARTBEAT]),
            occurred=EventOccurredFilter(since=now - allowed),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        )
        if not client.read_events(heartbeats, limit=1).events:
            yield run


def _crash_rest(client: SyncPrefectClient, parents: filters.FlowRunFilter) -> None:
    """Crash what is unfinished below the flow runs ``parents``: their flow runs first, which decide their task runs.

    Not what workers elsewhere run for them: it goes on, and Prefect sees for itself whether it ends.
    """
    unfinished = filters.TaskRunFilter(
        state=filters.TaskRunFilterState(type=filters.TaskRunFilterStateType(any_=UNFINISHED))
    )
    tasks = client.read_task_runs(flow_filter=_ours(), flow_run_filter=parents, task_run_filter=unfinished)
    if not tasks:
        return
    below = filters.FlowRunFilter(
        state=_state(UNFINISHED),
        parent_task_run_id=filters.FlowRunFilterParentTaskRunId(any_=[task.id for task in tasks]),
    )
    children = client.read_flow_runs(flow_run_filter=below)
    elsewhere = {child.parent_task_run_id for child in children if child.deployment_id is not None}
    gone = [child.id for child in children if child.deployment_id is None]
    for id in gone:
        client.set_flow_run_state(id, Crashed(message=LEFT))
    if gone:
        _crash_rest(client, _these(gone))
    for task in tasks:
        if task.id not in elsewhere:
            # Refused by the server if it has ended meanwhile.
            client.set_task_run_state(task.id, Crashed(message=LEFT))


def _these(ids: list[UUID]) -> filters.FlowRunFilter:
    return filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=ids))


def _ours() -> filters.FlowFilter:
    return filters.FlowFilter(name=filters.FlowFilterName(any_=list(FLOWS)))


def _state(types: list[StateType]) -> filters.FlowRunFilterState:
    return filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=types))
