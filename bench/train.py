"""This engine against ``transformers.Trainer`` and a plain loop: speed, memory, accuracy; at the end the ratios.

The settings of all three, for review, are at the top of ``contenders.py``, models and rows in ``subjects.py``. Each
training is a process of its own, on the same weights, rows, effective batches and epochs; contenders take turns, seed
by seed, and are compared round by round (``rounds.py``). Progress goes to stderr.

    python bench/train.py --quick
    python bench/train.py --data FOLDER --json train.json     FOLDER holds {sst2,boolq}/{train,test}.parquet
    python bench/train.py --profile --subjects encoder-long   where this engine's time goes
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rounds import Ratio, apart, in_turn, measured, say
from subjects import BF16_PAYS, SUBJECTS, Subject, machine, make_rows, matrix_rates, told_rates
from transformers import logging

CONTENDERS = ("engine", "trainer", "reference")
HEADINGS = ("", "precision", "examples/s", "tokens/s", "matrix rate", "peak MB", "accuracy", "loss by quarters")

Plan = list[tuple[str, str]]
"""(contender, precision), this engine first."""

Results = dict[tuple[str, str], list[dict[str, Any]]]
"""(contender, precision) to what was measured with each seed."""


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one tiny model, one seed")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--data", type=Path, help="folder of real rows; default: rows of the generated world")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-train", type=int, help="rows, in the place of each subject's")
    parser.add_argument("--epochs", type=int, help="in the place of each subject's")
    parser.add_argument("--reference-steps", type=int, help="of the reference; default: as many as of the others")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--profile", action="store_true", help="print the top operators of this engine instead")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    args = parser.parse_args()
    names = args.subjects or [name for name, s in SUBJECTS.items() if not s.is_quick and args.device in s.devices]
    logging.disable_progress_bar()
    rates = matrix_rates(args.device)
    print(f"{machine(args.device)}; {told_rates(rates)}")
    found: dict[str, Results] = {}
    with tempfile.TemporaryDirectory() as folder:
        changes = {name: value for name in ("n_train", "epochs") if (value := getattr(args, name)) is not None}
        for name in ["quick"] if args.quick else names:
            subject = dataclasses.replace(SUBJECTS[name], **changes)
            plan = contests(subject, rates, args.device)
            place = Path(folder) / subject.name
            if args.profile:
                _, precision = plan[0]
                print(f"{subject.name}, {precision}\n{profiled(subject, place, precision, args.device, args.data)}")
                continue
            seeds = range(1 if args.quick else args.seeds)
            found[subject.name] = measure(
                subject, place, plan, seeds, args.device, data=args.data, reference_steps=args.reference_steps
            )
            print("\n" + table(subject.name, found[subject.name], rates), flush=True)
    if args.json:
        about = {"machine": machine(args.device), "rates": rates, "args": {k: str(v) for k, v in vars(args).items()}}
        runs = {name: {" ".join(key): value for key, value in results.items()} for name, results in found.items()}
        args.json.write_text(json.dumps({**about, "runs": runs}, indent=1) + "\n")
    if not args.profile:
        print("\n" + "\n".join(f"{name}: {ratios(results)}" for name, results in found.items()))


def measure(
    subject: Subject,
    folder: Path,
    plan: Plan,
    seeds: Iterable[int],
    device: str,
    *,
    data: Path | None = None,
    reference_steps: int | None = None,
) -> Results:
    """Run every contender with every seed, which is a round."""
    spec = prepared(subject, folder, device, data)
    results: Results = {key: [] for key in plan}
    for seed in seeds:
        for contender, precision in in_turn(plan, seed):
            about = {"contender": contender, "precision": precision, "seed": seed, "reference_steps": reference_steps}
            found = measured(apart("contenders.py", json.dumps(spec | about)))
            speed = found["n_examples"] / found["seconds"]
            say(f"{subject.name}: {contender} in {precision}, seed {seed}: {speed:.1f} examples/s")
            results[contender, precision].append(found)
    return results


def profiled(subject: Subject, folder: Path, precision: str, device: str, data: Path | None) -> str:
    """Where this engine's time goes."""
    about = {"contender": "engine", "precision": precision, "seed": 0, "is_profiled": True}
    return apart("contenders.py", json.dumps(prepared(subject, folder, device, data) | about))


def prepared(subject: Subject, folder: Path, device: str, data: Path | None) -> dict[str, Any]:
    """Make model and rows in a new folder; what is the same for all trainings of a subject."""
    say(f"{subject.name}: model and rows")
    for name in ("model", "rows"):
        (folder / name).mkdir(parents=True)
    base = subject.make(folder / "model")
    make_rows(folder / "rows", subject, data)
    shape = {"epochs": subject.epochs, "batch_size": subject.batch_size}
    return {"subject": subject.name, "device": device, "base": str(base), "rows": str(folder / "rows"), **shape}


def contests(subject: Subject, rates: dict[str, float], device: str) -> Plan:
    """Contenders with the precision that their users would set, and once more in bf16 where that is another.

    That is bf16 where the machine is faster in it, as measured; but float32 for the reference, which has no other, and
    in this engine for a toy model, of which the catalogue says so.
    """
    fast = "bf16" if rates["bf16"] > BF16_PAYS * rates["fp32"] else "fp32"
    own = {"engine": fast if subject.is_bf16 else "fp32", "trainer": fast, "reference": "fp32"}
    plan = [*own.items(), *((contender, "bf16") for contender, precision in own.items() if precision != "bf16")]
    return plan + ([("engine-lora", own["engine"])] if device == "cuda" else [])


def table(name: str, results: Results, rates: dict[str, float]) -> str:
    """What was measured of one subject: medians over the seeds; of accuracies and losses the mean."""
    one = next(iter(results.values()))[0]
    lengths = f"{one['n_tokens'] / one['n_examples']:.0f} tokens each"
    lines = [f"{name}: {one['n_examples']} examples in all, {lengths}, {one['n_parameters'] / 1e6:.1f}M parameters"]
    rows = [HEADINGS]
    for (contender, precision), runs in results.items():
        speed = 1 / statistics.median(per_example(runs))
        accuracies = [run["accuracy"] for run in runs if "accuracy" in run]
        spread = f" ± {statistics.stdev(accuracies):.3f}" if len(accuracies) > 1 else ""
        rows.append((
            contender, precision, f"{speed:.1f}", f"{speed * one['n_tokens'] / one['n_examples']:,.0f}",
            f"{share(contender, runs, rates[precision]):.1%}", f"{median(runs, 'peak_bytes') / 1e6:,.0f}",
            f"{statistics.mean(accuracies):.3f}{spread}" if accuracies else "",
            " ".join(f"{loss:.3f}" for loss in quarters(runs)),
        ))  # fmt: skip
    if ("reference", "fp32") in results:
        of_engine = next(runs for (contender, _), runs in results.items() if contender == "engine")
        pairs = zip(of_engine, results["reference", "fp32"], strict=True)
        # The reference may have stopped early.
        gaps = [abs(a - b) for x, y in pairs for a, b in zip(x["losses"], y["losses"], strict=False)]
        lines.append(f"losses of engine and reference, step by step: at most {max(gaps):.4f} apart")
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join(lines + ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows])


def share(contender: str, runs: list[dict[str, Any]], rate: float) -> float:
    """Of the machine's rate in matrix products, in the same precision."""
    return flops(runs[0], contender) / runs[0]["n_examples"] / statistics.median(per_example(runs)) / rate


def flops(run: dict[str, Any], contender: str) -> float:
    """Operations that a training cannot do without, of its real tokens only.

    6 per parameter that is no embedding and token (forward pass 2, backward pass 4, or 2 without gradients of the
    weights, as with adapters), and for attention 12 per layer, unit of width and pair of tokens of a text.
    """
    per_parameter = 4 if contender == "engine-lora" else 6
    attention = 12 * run["n_layers"] * run["width"] * run["n_token_pairs"]
    return per_parameter * run["n_parameters"] * run["n_tokens"] + attention


def ratios(results: Results) -> str:
    """Examples per second of this engine over those of the others: as each is set, and all in bf16."""
    own = {contender: (contender, precision) for contender, precision in reversed(list(results)[:3])}
    alike = {contender: (contender, "bf16") for contender in CONTENDERS}

    def over(keys: dict[str, tuple[str, str]]) -> str:
        ours = per_example(results[keys["engine"]])
        names = {"trainer": "Trainer", "reference": "reference"}
        return ", ".join(Ratio.of(ours, per_example(results[keys[c]])).against(name) for c, name in names.items())

    both = alike != own and all(key in results for key in alike.values())
    return over(own) + (f"; all bf16: {over(alike)}" if both else "")


def per_example(runs: list[dict[str, Any]]) -> list[float]:
    """Seconds, of each run."""
    return [run["seconds"] / run["n_examples"] for run in runs]


def quarters(runs: list[dict[str, Any]]) -> list[float]:
    """Mean loss of each quarter of the steps."""
    curves = [run["losses"] for run in runs]
    n_steps = len(curves[0])
    edges = [i * n_steps // 4 for i in range(5)]
    return [
        statistics.mean(x for losses in curves for x in losses[start : max(end, start + 1)])
        for start, end in itertools.pairwise(edges)
    ]


def median(runs: list[dict[str, Any]], name: str) -> float:
    """Over the seeds."""
    return statistics.median(run[name] for run in runs)


if __name__ == "__main__":
    main()
