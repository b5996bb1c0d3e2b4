"""How long a plan is said to take, and by what that is known."""

from __future__ import annotations

import pytest

from flows.plan.cost import Kind, Left, Timing, Timings, duration, forecast, told


def kind(stage: str = "train", size: float = 100, model: str | None = "m", dataset: str = "d", on: str = "cpu") -> Kind:
    return Kind(stage, on, model, dataset, size)


@pytest.mark.parametrize(
    ("known", "seconds", "n_timings", "is_alike"),
    [
        ([(kind(), 10)], 10, 1, True),
        ([(kind(), 10), (kind(), 12), (kind(), 50)], 12, 3, True),
        ([(kind(size=50), 10)], 20, 1, True),
        ([(kind(size=0), 10)], 10, 1, True),
        # Another dataset counts where there is nothing of the same, another model where there is nothing of that.
        ([(kind(), 10), (kind(dataset="e"), 99)], 10, 1, True),
        ([(kind(dataset="e"), 99), (kind(model="n"), 5)], 99, 1, True),
        ([(kind(model="n"), 5)], 5, 1, False),
        # Of many, the nearest in size: here 15 of the same, which leaves out the one that is far.
        ([(kind(), 10)] * 15 + [(kind(size=1), 100)], 10, 15, True),
        ([(kind(model=None), 7)], 7, 1, False),
    ],
)
def test_stage_takes_what_such_stages_took_scaled_by_size(
    known: list[tuple[Kind, float]], seconds: float, n_timings: int, is_alike: bool
) -> None:
    expected = Timings(Timing(*one) for one in known).expected(kind())

    assert expected == (pytest.approx(seconds), n_timings, is_alike)


@pytest.mark.parametrize("known", [[], [kind(stage="score")], [kind(on="cuda")]])
def test_stage_of_which_none_ran_on_such_a_device_is_not_known(known: list[Kind]) -> None:
    assert Timings(Timing(one, 1.0) for one in known).expected(kind()) is None


def test_forecast_shares_out_work_but_is_never_shorter_than_what_waits_for_each_other() -> None:
    timings = Timings([Timing(kind(), 10.0)])
    wide, chain = dict.fromkeys("abcd", kind()), {"b": ["a"], "c": ["b"], "d": ["c"]}

    assert forecast(wide, {}, timings, 4).seconds == 10
    assert forecast(wide, {}, timings, 3).seconds == pytest.approx(40 / 3)
    assert forecast(wide, chain, timings, 4).seconds == 40
    assert forecast(wide, {"a": ["done before"]}, timings, 1).seconds == 40


def test_forecast_says_how_sure_it_is() -> None:
    timings = Timings([Timing(kind(), 90.0), Timing(kind(), 90.0)])
    kinds = {"a": kind(), "b": kind(model="n"), "c": kind(stage="score")}

    assert told(forecast({"a": kind()}, {}, timings, 1)) == (
        "about 90 s with 1 worker, by at least 2 earlier timings of each kind of stage"
    )
    assert told(forecast(kinds, {}, timings, 2)) == (
        "at least 90 s with 2 workers (3 min one after the other), by at least 2 earlier timings of each "
        "kind of stage; 1 of 3 stages guessed from other models; 1 of 3 stages never timed, and not counted"
    )
    assert told(forecast(kinds, {}, Timings(), 2)).startswith("how long it takes is not known: ")


def test_what_is_left_follows_the_pace_of_the_run() -> None:
    left = Left(dict.fromkeys("abcde", kind()), Timings([Timing(kind(), 10.0)]), 2)
    assert left.told() == "about 25 s left"
    left.over("a", 20.0)  # twice as slow as before
    assert left.told() == "about 40 s left"
    left.over("b", 0.0)  # reused
    assert left.told() == "about 30 s left"
    left.settle(["e"])
    assert left.told() == "about 20 s left"
    left.over("e", 20.0)
    assert left.told() == ""


def test_what_was_never_timed_is_learned_from_the_run_itself() -> None:
    left = Left({"a": kind(), "b": kind(), "c": kind(stage="score")}, Timings(), 1)
    assert left.told() == ""
    left.over("a", 30.0)
    assert left.told() == "at least 30 s left"


@pytest.mark.parametrize(("seconds", "words"), [(3.2, "3 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_rough(seconds: float, words: str) -> None:
    assert duration(seconds) == words
