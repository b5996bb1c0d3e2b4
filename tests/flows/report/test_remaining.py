"""What a run says in its home of how long it will still take."""

from __future__ import annotations

from pathlib import Path

from flows.home import Home
from flows.plan.cost import Kind, Left, Timing, Timings
from flows.report.remaining import Remaining, remaining
from tests.toy_runs import open_session


def test_what_is_left_is_said_while_the_run_goes_on_and_not_after(tmp_path: Path) -> None:
    home = Home(tmp_path)
    node = next(iter(open_session(tmp_path).plan.graph.nodes.values()))
    kind = Kind(node.stage, "cpu", None, None, 0.0)
    left = Left({node.id: kind, "other": kind}, Timings([Timing(kind, 30.0)]), 1)

    with Remaining(home, "toy", left) as told:
        assert remaining(home, "toy").startswith("about 60 s left at ")
        told("ran", node, 60.0)
        assert told.told() == "about 60 s left"
    assert remaining(home, "toy") == ""
