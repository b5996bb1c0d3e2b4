"""How long stages will take, from how long such stages took before. Pure: what took how long is given.

A stage is compared with those of its kind that had the same model and device, of its own dataset if there are any, and
of about its size; their times are taken to grow with it. Size is rows that are read, for each epoch once: at most so
many, as the parameters say, which is meant alike of what was and of what will be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from artifacts.identity.keys import JSON

N_ALIKE = 15
"""Timings that one stage is compared with: those nearest in size."""

ANY = None
"""In the place of a model or dataset: whichever."""


class Kind(NamedTuple):
    """What decides how long a stage takes."""

    stage: str
    device: str
    model: JSON
    dataset: JSON
    size: float
    """Rows × epochs; 0 where that is not known, and then times are taken as they are."""


class Timing(NamedTuple):
    """How long one took."""

    kind: Kind
    seconds: float


class Expected(NamedTuple):
    """How long one will take."""

    seconds: float
    n_timings: int
    """From so many timings."""
    is_alike: bool
    """Whether these had the same model."""


class Forecast(NamedTuple):
    """How long many will take."""

    seconds: float
    """With all workers: their sum shared out, but no less than the longest chain of what waits for each other."""
    seconds_alone: float
    """One after the other."""
    n_stages: int
    n_workers: int
    n_timings: int
    """From so many timings: of that stage with the fewest, of those that have any."""
    n_guessed: int
    """Stages of which only other models were timed."""
    n_untimed: int
    """Stages of which nothing was timed; they count as nothing."""


class Timings:
    """What is known of how long stages took."""

    def __init__(self, timings: Iterable[Timing] = ()) -> None:
        self._by_kind: dict[tuple[JSON, ...], dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        """What they are looked up by to size to seconds; thousands are of a few sizes."""
        self._expected: dict[Kind, Expected | None] = {}
        for timing in timings:
            self.add(timing)

    def add(self, timing: Timing) -> None:
        """Know of one more."""
        for about in _about(timing.kind):
            known = self._by_kind[about][timing.kind.size]
            if len(known) < N_ALIKE:
                known.append(timing.seconds)

    def expected(self, kind: Kind) -> Expected | None:
        """How long a stage of this kind will take; None where none was timed."""
        if kind not in self._expected:
            self._expected[kind] = self._look(kind)
        return self._expected[kind]

    def _look(self, kind: Kind) -> Expected | None:
        for about in _about(kind):
            if found := self._by_kind.get(about):
                sizes = sorted(found, key=lambda size: _distance(kind.size, size))
                nearest = [(size, seconds) for size in sizes for seconds in found[size]][:N_ALIKE]
                scaled = median(seconds * _growth(size, kind.size) for size, seconds in nearest)
                return Expected(scaled, len(nearest), about[2] is not ANY or kind.model is None)
        return None


def _about(kind: Kind) -> Iterator[tuple[JSON, ...]]:
    """What a timing is looked up by, from the most alike to the least."""
    yield kind.stage, kind.device, kind.model, kind.dataset
    if kind.dataset is not ANY:
        yield kind.stage, kind.device, kind.model, ANY
    if kind.model is not None:
        yield kind.stage, kind.device, ANY, ANY


def _growth(before: float, now: float) -> float:
    return now / before if before and now else 1.0


def _distance(one: float, other: float) -> float:
    return abs(math.log(one / other)) if one and other else math.inf


def forecast(
    kinds: Mapping[str, Kind], parents: Mapping[str, Sequence[str]], timings: Timings, n_workers: int
) -> Forecast:
    """How long stages will take together.

    Args:
        kinds: node id to its kind, parents first.
        parents: node id to what it waits for; those that are not in ``kinds`` are done.
        timings: what is known.
        n_workers: how many run at a time.
    """
    ends: dict[str, float] = {}
    counts = {"guessed": 0, "untimed": 0}
    total, fewest = 0.0, 0
    for id, kind in kinds.items():
        expected = timings.expected(kind)
        seconds = expected.seconds if expected is not None else 0.0
        if expected is None:
            counts["untimed"] += 1
        else:
            counts["guessed"] += not expected.is_alike
            fewest = min(fewest or expected.n_timings, expected.n_timings)
        total += seconds
        ends[id] = seconds + max((ends[parent] for parent in parents.get(id, ()) if parent in ends), default=0.0)
    longest = max(ends.values(), default=0.0)
    shared = max(longest, total / n_workers)
    return Forecast(shared, total, len(kinds), n_workers, fewest, counts["guessed"], counts["untimed"])


def told(forecast: Forecast) -> str:
    """A forecast in a line, with how sure it is."""
    n_timed = forecast.n_stages - forecast.n_untimed
    if not n_timed:
        return "how long it takes is not known: no such stage was timed in this store"
    workers = "1 worker" if forecast.n_workers == 1 else f"{forecast.n_workers} workers"
    least = "at least " if forecast.n_untimed else "about "
    line = f"{least}{duration(forecast.seconds)} with {workers}"
    if forecast.n_workers > 1:
        line += f" ({duration(forecast.seconds_alone)} one after the other)"
    timings = "1 earlier timing" if forecast.n_timings == 1 else f"{forecast.n_timings} earlier timings"
    line += f", by at least {timings} of each kind of stage"
    if forecast.n_guessed:
        line += f"; {forecast.n_guessed:,} of {forecast.n_stages:,} stages guessed from other models"
    if forecast.n_untimed:
        line += f"; {forecast.n_untimed:,} of {forecast.n_stages:,} stages never timed, and not counted"
    return line


def duration(seconds: float) -> str:
    """Roughly how long: seconds up to two minutes, minutes up to two hours, hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Left:
    """What is left of a forecast while it comes true: how fast this run is corrects what was known before.

    Args:
        kinds: node id to its kind, of all that will run.
        timings: what is known.
        n_workers: how many run at a time.
    """

    def __init__(self, kinds: Mapping[str, Kind], timings: Timings, n_workers: int) -> None:
        self._kinds = dict(kinds)
        self._timings = timings
        self._n_workers = n_workers
        self._took: dict[str, list[float]] = defaultdict(list)
        """By stage."""
        self._expected_s = self._took_s = 0.0
        """Of those that ran, and that had been timed."""

    def over(self, id: str, seconds: float) -> None:
        """One is over; ``seconds`` is 0 where it did not run."""
        kind = self._kinds.pop(id, None)
        if kind is None or not seconds:
            return
        self._took[kind.stage].append(seconds)
        if (expected := self._timings.expected(kind)) is not None:
            self._expected_s += expected.seconds
            self._took_s += seconds

    def settle(self, ids: Iterable[str]) -> None:
        """No more than these are left: others made the rest."""
        kept = set(ids)
        self._kinds = {id: kind for id, kind in self._kinds.items() if id in kept}

    def told(self) -> str:
        """How long it will still take; empty where nothing is left, or nothing is known."""
        seconds, n_untimed = 0.0, 0
        pace = self._took_s / self._expected_s if self._expected_s else 1.0
        for kind in self._kinds.values():
            expected = self._timings.expected(kind)
            if expected is not None:
                seconds += pace * expected.seconds
            elif took := self._took.get(kind.stage):
                seconds += sum(took) / len(took)
            else:
                n_untimed += 1
        if not seconds:
            return ""
        n_workers = min(self._n_workers, len(self._kinds))
        return f"{'at least' if n_untimed else 'about'} {duration(seconds / n_workers)} left"
