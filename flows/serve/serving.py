"""The process that serves the deployments for ``w2s up``, until it gets SIGTERM or its parent is gone.

Started as ``python -m flows.serve.serving`` with the environment of a server; says ``ready`` when the deployments are
there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.runner import Runner

from flows.run.orphans import GONE, HEARTBEAT, crash_orphans, silence
from flows.serve.deployments import served

READY = "ready"
POLL_S = 2
"""How often the server is asked for runs that are due."""

LOOK_S = 15
"""How often it is looked for runs that nobody runs any more."""


def main() -> None:
    """Serve until told to stop."""
    asyncio.run(_serve(served()))


async def _serve(deployments: list[RunnerDeployment]) -> None:
    await install_zombie_automation()
    # Schedules go on where they were when this starts again.
    runner = Runner(name="w2s-up", query_seconds=POLL_S, pause_on_shutdown=False)
    for deployment in deployments:
        await runner.aadd_deployment(deployment)
    serving = asyncio.create_task(runner.start())
    while not runner.started:
        await asyncio.sleep(0.05)
        if serving.done():
            break
    stopping = asyncio.Event()
    # The runner's own handler waits for its loop from inside it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(READY, flush=True)
    told = asyncio.create_task(stopping.wait())
    looking = asyncio.create_task(_look_for_orphans())
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    looking.cancel()
    if told.done():
        await runner.astop()
    await serving


async def _look_for_orphans() -> None:
    while True:
        # What a server that is away cannot be asked is asked the next time.
        with contextlib.suppress(httpx.HTTPError):
            await asyncio.to_thread(crash_orphans)
        await asyncio.sleep(LOOK_S)


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


async def install_zombie_automation() -> None:
    """Let the server mark flow runs whose heartbeats stop as crashed: their process was killed, with its parent."""
    allowed = silence()
    if allowed is None:
        return
    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    automation = AutomationCore(
        name="w2s: crash flow runs without heartbeats",
        description="A flow run whose process was killed would stay Running for ever.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ended},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=allowed,
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message=GONE),
        ],
    )
    async with get_client() as client:
        there = await client.read_automations_by_name(automation.name)
        if there:
            await client.update_automation(there[0].id, automation)
        else:
            await client.create_automation(automation)


if __name__ == "__main__":
    main()
