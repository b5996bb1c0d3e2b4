"""A plan as text for people and as records for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from artifacts.identity.keys import JSON
from flows.plan.compare import Plan, Planned, Status
from flows.plan.graph import FromNode, FromPath, Node
from flows.plan.sizes import n_rows
from w2s_core.data.datasets import DATASETS
from w2s_core.data.sources import mapped_labels
from w2s_core.debate.debaters.debater import DEBATERS
from w2s_core.stages import STAGES

CAUSES = {
    "new": "never built",
    "parameter": "a parameter changed",
    "input": "an input changed",
    "code": "code changed",
    "payload": "an artifact is broken",
    "evicted": "evicted, but needed",
}
MOST_REASONS = 6
MOST_DATASETS = 8
LONGEST_REASON = 160


def print_plan(console: Console, plan: Plan, *, grid: str, why: bool, forecast: str = "") -> None:
    """Print a summary, then with ``why`` one line per node that is not fresh; ``forecast`` is how long they take."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    n_fresh, n_stale, n_depends = (plan.count(status) for status in (Status.FRESH, Status.STALE, Status.DEPENDS))
    saved = f" ({plan.hours_saved:.2f} h saved)" if n_fresh else ""
    say(f"{len(plan.planned):,} stages: {n_fresh:,} fresh{saved}, {n_stale:,} stale, {n_depends:,} depend on those")
    for line in _notes(plan):
        say(f"note: {line}")
    if not plan.pending:
        return
    if forecast:
        say(f"time: {forecast}")
    for line in _stages(plan):
        say(f"  {line}")
    if n_fresh and (line := _datasets(plan)):
        say(line)
    n_remade = sum(entry.cause == "evicted" for entry in plan.pending)
    if n_remade:
        say(f"{n_remade:,} evicted weights are made again; {n_depends:,} stages rerun if their bytes differ")
    if why:
        for entry in plan.pending:
            say(f"{entry.node.id[:8]}  {entry.status.value:<7}  {entry.node.name}: {entry.reason}")
        return
    say("why:")
    for line in _reasons(plan.pending):
        say(f"  {line}")
    say(f"each stage: w2s plan {grid} --why; run them: w2s run {grid}")


def _stages(plan: Plan) -> list[str]:
    """A table of the stages that are not all fresh."""
    counts = Counter((entry.node.stage, entry.status) for entry in plan.planned.values())
    present = [status for status in Status if plan.count(status)]
    rows = [
        (stage, *(f"{counts[stage, status]:,}" for status in present))
        for stage in STAGES
        if counts[stage, Status.STALE] or counts[stage, Status.DEPENDS]
    ]
    titles = ("", *(status.value for status in present))
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (titles, *rows)
    ]


def _datasets(plan: Plan) -> str:
    """How much is pending in which datasets, most first; empty where there is only one."""
    everywhere = {entry.node.labels.get("dataset") for entry in plan.planned.values()} - {None}
    if len(everywhere) < 2:
        return ""
    counts = Counter(entry.node.labels.get("dataset") or "shared by all" for entry in plan.pending)
    told = [f"{dataset} {count:,}" for dataset, count in counts.most_common(MOST_DATASETS)]
    if len(counts) > MOST_DATASETS:
        told.append(f"and {len(counts) - MOST_DATASETS} more")
    return f"where: {', '.join(told)}"


def _notes(plan: Plan) -> list[str]:
    """Lines on what is to be reused, and on folders whose classes are mapped when they are read."""
    lines = [*plan.other_versions, *asked_elsewhere([entry.node for entry in plan.pending])]
    for node in plan.graph.nodes.values():
        if node.stage == "prepare" and node.params["source"]["kind"] == "folder":
            name = str(node.labels["dataset"])
            files = {input: source.path for input, source in node.inputs.items() if isinstance(source, FromPath)}
            lines += [f"{name}: {note}" for note in mapped_labels(node.params, files, DATASETS.get(name).columns)]
    return lines


def asked_elsewhere(pending: Sequence[Node]) -> list[str]:
    """What servers would be asked for, each in a line; a run that was stopped asks for what is left of that only."""
    n_turns: Counter[str] = Counter()
    n_tokens: Counter[str] = Counter()
    for node in pending:
        if node.stage != "transcripts":
            continue
        debater = node.params["debater"]
        if whom := DEBATERS.get(debater["kind"]).asks:
            rows = node.inputs["rows"]
            assert isinstance(rows, FromNode)
            n = n_rows(rows.node.params["data"], rows.output) * node.params["n_turns"]
            n_turns[whom.format(**debater)] += n
            n_tokens[whom.format(**debater)] += n * debater["max_tokens"]
    return [
        f"asks {whom} for {n:,} turns, of at most {n_tokens[whom]:,} tokens together" for whom, n in n_turns.items()
    ]


def _reasons(pending: list[Planned]) -> list[str]:
    """Why how many are stale, most first; what breaks artifacts differs from one to the next, so one of each stands."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for entry in pending:
        if entry.status is Status.STALE:
            is_shared = entry.cause in ("code", "parameter")
            reason = entry.reason if is_shared else CAUSES[entry.cause]
            counts[reason] += 1
            if entry.cause == "payload":
                examples.setdefault(reason, f", such as {entry.node.name}: {entry.reason.removeprefix('payload: ')}")
    width = max((len(f"{count:,}") for count in counts.values()), default=0)
    lines = [
        f"{count:>{width},}  {_shortened(reason + examples.get(reason, ''))}"
        for reason, count in counts.most_common(MOST_REASONS)
    ]
    if len(counts) > MOST_REASONS:
        n_left = counts.total() - sum(count for _, count in counts.most_common(MOST_REASONS))
        lines.append(f"{n_left:>{width},}  for {len(counts) - MOST_REASONS} other reasons")
    return lines


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"


def as_records(plan: Plan) -> dict[str, JSON]:
    """The whole plan as JSON: counts, and one record per node."""
    return {
        "counts": {status.value: plan.count(status) for status in Status},
        "hours_saved": round(plan.hours_saved, 4),
        "notes": _notes(plan),
        "nodes": [
            {
                "node": entry.node.id,
                "name": entry.node.name,
                "stage": entry.node.stage,
                "labels": dict(entry.node.labels),
                "params": dict(entry.node.params),
                "parents": [parent.id for parent in entry.node.parents],
                "status": entry.status.value,
                "cause": entry.cause,
                "reason": entry.reason,
                "key": entry.key,
                "code": entry.code.digest,
            }
            for entry in plan.planned.values()
        ],
    }
