"""Everything that ``make bench`` tells, within 20 minutes: training, prediction, a stage's start, and large plans.

Contenders alternate and repeat, and are compared round by round (``rounds.py``); the share of the machine's matrix rate
is that of rates measured just before. Rounds are as many as fit into the time, two at least. The last line has the
ratios and how much of that rate this engine reached. Details, more seeds and real rows: the script of each part.

    python bench/all.py [--quick] [--minutes 20] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import NamedTuple

import inference
import start
import torch
import train
from rounds import apart, rounds
from subjects import SUBJECTS, Subject, machine, matrix_rates, told_rates
from transformers import logging

MOST_ROUNDS = 5


class Training(NamedTuple):
    """A training that is compared."""

    subject: Subject
    reference_steps: int
    share: float
    """Of the whole time, for its rounds."""


def smaller(name: str, n_train: int, **changes: int) -> Subject:
    """A subject that takes a minute or two a round, with enough rows for ``Trainer`` to group by length."""
    return dataclasses.replace(SUBJECTS[name], n_train=n_train, n_validation=100, epochs=1, **changes)


class Extent(NamedTuple):
    """How much is measured."""

    trainings: list[Training]
    predicts: str
    n_rows: int
    starts: list[str]
    n_nodes: int


FULL = Extent(
    [
        Training(smaller("encoder-short", 1_280), 6, 0.16),
        Training(smaller("encoder-long", 320), 4, 0.21),
        Training(smaller("gpt2-124m", 64, batch_size=8), 2, 0.24),
    ],
    predicts="encoder-long", n_rows=1_000, starts=["encoder-long"], n_nodes=100_000,
)  # fmt: skip
QUICK = Extent([Training(smaller("quick", 64, batch_size=8), 2, 0.2)], "quick", 64, ["quick"], 300)
PREDICTION_SHARE = 0.15


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model and a small plan: whether it works at all")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long it may take, on two cores")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--data", type=Path, help="folder of real rows; default: rows of the generated world")
    args = parser.parse_args()
    logging.disable_progress_bar()
    extent = QUICK if args.quick else FULL
    most, seconds = 2 if args.quick else MOST_ROUNDS, 60 * args.minutes
    print(machine(args.device))
    said = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject, reference_steps, share in extent.trainings:
            rates = matrix_rates(args.device)
            print(f"\n{told_rates(rates)}")
            contests = [c for c in train.contests(subject, rates, args.device) if c[0] in train.CONTENDERS][:3]
            results = train.measure(
                subject, folder / "train" / subject.name, contests, rounds(most, share * seconds), args.device,
                data=args.data, reference_steps=reference_steps,
            )  # fmt: skip
            print(train.table(subject.name, results, rates), flush=True)
            of_rate = train.share(contests[0][0], results[contests[0]], rates[contests[0][1]])
            said.append(f"training {subject.name} {train.ratios(results)}, {of_rate:.0%} of the matrix rate")
        predicting = SUBJECTS[extent.predicts]
        runs = inference.measure(
            predicting, folder / "predict", extent.n_rows, matrix_rates(args.device),
            rounds(most, PREDICTION_SHARE * seconds), args.device, args.data,
        )  # fmt: skip
        print("\n" + inference.table(predicting.name, runs) + "\n", flush=True)
        said.append(f"prediction {inference.ratios(runs)}")
        for subject_name in extent.starts:
            lives = start.measure(subject_name, folder / "start" / subject_name, range(3), args.device)
            said.append(start.summary(subject_name, lives))
            print(said[-1] + "\n", flush=True)
    print(f"about {extent.n_nodes:,} fresh nodes")
    # A process of its own: the peak memory of those that it starts counts what their parent had.
    output = apart("plan.py", str(extent.n_nodes), "1")
    print(output)
    (cost,) = [line.removeprefix("plan: ") for line in output.splitlines() if line.startswith("plan: ")]
    said.append(f"plan of {extent.n_nodes:,} nodes {cost}")
    print("\nratios of this engine: " + "; ".join(said))


if __name__ == "__main__":
    main()
