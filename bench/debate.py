"""The table of "Debate Helps Weak-to-Strong Generalization" (Lang, Huang and Li 2025), row by row.

Runs the preset ``debate`` in a home of its own under FOLDER (what is there already is not made again), and prints in
Markdown, for each dataset: each row of the paper's table and the control with transcripts of other rows, its PGR, its
difference from plain finetuning with 95 % paired intervals of test items and seeds, and the published numbers of the
dataset, which are of other models. Then what the paper concludes, and whether it is so here: "met" or "contrary" where
the interval over datasets (Student's t) leaves out no difference, else "not told". ``--ablations`` adds ensemble sizes
and turns from 1 to 6, a table and FOLDER/ablations.svg.

    python bench/debate.py FOLDER [--datasets sst2 sciq boolq] [--seeds 5] [--rows 1600] [--ablations]

What it costs: the preset, of 3 datasets and 5 seeds, is 2,243 stages, of which 615 are trainings of offline models on
800 rows, 3 times each; the ablations are 2,033 stages, but for those that the preset has. ``--plan`` says what is left
to do, and runs nothing.

It is of the generated world, where debaters are generated, too: a test of the machinery, no result about language. With
other sources, models or debaters: ``--grid FILE``, with supervisors of the same names; rows without one are left out.
``--real ROWS MODELS`` is such a grid: SciQ and BoolQ of the folder ROWS, and models that bench/weights.py made. SmolLM2
speaks, encoders of 23M and 110M parameters are judge and student, and in one row Gemma is the judge.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import tomli_w
from commands import w2s

PRESET = Path(__file__).parent.parent / "flows" / "grids" / "debate.toml"

PAPER = "%arXiv 2501.13124"

SIZES = range(1, 7)
"""Members of an ensemble, and turns of a debate, in the ablations."""


class Row(NamedTuple):
    """A row of the table: a pair's supervisor and method, here and in the table ``published``."""

    title: str
    supervisor: str | None
    """None: the plain judge."""
    method: str


ROWS = (
    Row("finetune", None, "xent"),
    Row("confidence", None, "logconf"),
    Row("product", None, "product"),
    Row("debate ensemble", "debate-ensemble", "xent"),
    Row("consultancy", "consultancy", "xent"),
    Row("market-making", "market-making", "xent"),
    Row("single, with debate", "single", "xent"),
    Row("finetune ensemble", "finetune-ensemble", "xent"),
    Row("unrelated transcripts", "unrelated", "xent"),
    Row("single, judged by Gemma", "single-gemma", "xent"),
)
FINETUNE = ROWS[0].title

CONCLUSIONS = (
    ("debate ensemble", "finetune"),
    ("debate ensemble", "confidence"),
    ("debate ensemble", "product"),
    ("debate ensemble", "consultancy"),
    ("debate ensemble", "market-making"),
    ("debate ensemble", "single, with debate"),
    ("debate ensemble", "finetune ensemble"),
    ("single, with debate", "unrelated transcripts"),
)
"""The first is better than the second; the last is of ours: that it is the debate, and not more text, that helps."""

PAIRED = """
    WITH
        matched AS (
            SELECT
                dense_rank() OVER (ORDER BY one.dataset) AS pair, one.dataset, one.seed,
                one.transfer_score AS t, other.transfer_score AS r, other.weak_score AS w, other.ceiling_score AS c
            FROM pairs AS one JOIN pairs AS other USING (grid, dataset, strong, seed)
            WHERE grid = $grid AND (one.weak, one.method) = ($weak, $method)
                AND (other.weak, other.method) = ($other_weak, $other_method)
        ),
        answered AS (
            SELECT
                pair, matched.seed, coalesce(p.group, p.id) AS item, count(*) AS n_rows,
                sum(p.right::INT - q.right::INT) AS part, sum(ceiling.right::INT - weak.right::INT) AS whole
            FROM matched
            JOIN predictions AS p ON p.key = t
            JOIN predictions AS q ON q.key = r AND q.id = p.id
            JOIN predictions AS weak ON weak.key = w AND weak.id = p.id
            JOIN predictions AS ceiling ON ceiling.key = c AND ceiling.id = p.id
            GROUP BY ALL
        ),
        of_rows AS (SELECT * REPLACE (n_rows AS whole) FROM answered),
        of_gaps AS (FROM answered)
    SELECT dataset, accuracy.ratio, accuracy.low, accuracy.high, pgr.ratio, pgr.low, pgr.high
    FROM crossed('of_rows') AS accuracy JOIN crossed('of_gaps') AS pgr USING (pair)
    JOIN (SELECT DISTINCT pair, dataset FROM matched) USING (pair)
"""
"""Differences of two pairs, paired by row and seed, on the gap of the plain judge and the ceiling, which is one."""

OVER_ALL = """
    WITH given AS (SELECT $grid AS grid, 'x' AS method, unnest($datasets) AS dataset, unnest($values) AS value)
    SELECT mean, mean_low, mean_high FROM over_datasets('given')
"""


class Difference(NamedTuple):
    """Of accuracies, and of PGRs: value, and the ends of its interval, if it has one."""

    accuracy: tuple[float | None, float | None, float | None]
    pgr: tuple[float | None, float | None, float | None]


class Table:
    """The numbers of a grid that has been run."""

    def __init__(self, results: Path, grid: str, rows: Mapping[str, tuple[str, str]]) -> None:
        self._db = duckdb.connect(results, read_only=True)
        self._grid = grid
        self.rows = rows
        """Title to supervisor and method."""
        self.datasets = [
            name
            for (name,) in self._db.execute(
                "SELECT dataset FROM pairs WHERE grid = ? GROUP BY dataset ORDER BY min(position)", [grid]
            ).fetchall()
        ]

    def pair(self, title: str, dataset: str) -> dict[str, Any]:
        """The row of ``pgr_by_pair``."""
        found = self._db.execute(
            "FROM pgr_by_pair WHERE (grid, dataset, weak, method) = (?, ?, ?, ?)",
            [self._grid, dataset, *self.rows[title]],
        )
        names = [name for name, *_ in found.description or ()]
        row = found.fetchone()
        if row is None:
            raise SystemExit(f"grid {self._grid} has no results of {title} on {dataset}")
        return dict(zip(names, row, strict=True))

    def differences(self, title: str, other: str) -> dict[str, Difference]:
        """Of ``title`` less ``other``, by dataset, and over all as ``""``."""
        (weak, method), (other_weak, other_method) = self.rows[title], self.rows[other]
        asked = {"weak": weak, "method": method, "other_weak": other_weak, "other_method": other_method}
        rows = self._db.execute(PAIRED, {"grid": self._grid, **asked}).fetchall()
        found = {dataset: Difference(tuple(values[:3]), tuple(values[3:])) for dataset, *values in rows}
        found[""] = Difference(*(self._over_all(found, kind) for kind in ("accuracy", "pgr")))
        return found

    def _over_all(self, found: Mapping[str, Difference], kind: str) -> tuple[float | None, float | None, float | None]:
        """Over the datasets on which there is a gap to speak of."""
        values = {dataset: getattr(one, kind) for dataset, one in found.items()}
        sound = {dataset: value for dataset, (value, low, _) in values.items() if value is not None and low is not None}
        if not sound:
            return None, None, None
        asked = {"grid": self._grid, "datasets": list(sound), "values": list(sound.values())}
        mean, low, high = self._db.execute(OVER_ALL, asked).fetchone() or (None, None, None)
        return mean, low, high

    def published(self, dataset: str, row: Row) -> str:
        """Accuracy and PGR, if there are such numbers."""
        values = dict(
            self._db.execute(
                "SELECT metric, value FROM published "
                "WHERE source LIKE ? AND dataset = ? AND supervisor IS NOT DISTINCT FROM ? AND method = ?",
                [PAPER, dataset, row.supervisor, row.method],
            ).fetchall()
        )
        return f"{values['accuracy']:.3f} / {values['pgr']:.2f}" if {"accuracy", "pgr"} <= values.keys() else ""


def number(value: float | None, digits: int) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(ends: tuple[float | None, float | None, float | None], digits: int) -> str:
    """A difference with its interval."""
    value, low, high = ends
    if low is None or high is None:
        return f"({number(value, digits)})"
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def print_table(table: Table, dataset: str, rows: Sequence[Row], less: Mapping[str, Mapping[str, Difference]]) -> None:
    """One dataset; ``less`` are the differences of each row from plain finetuning, by dataset."""
    first = table.pair(FINETUNE, dataset)
    print(f"\n### {dataset}: {first['n_items']} test items, {first['n_seeds']} seeds\n")
    print("| row | labels | student | PGR | accuracy − finetune | PGR − finetune | published |\n" + "|---" * 7 + "|")
    print(f"| weak | | {first['weak_acc']:.3f} | 0 | | | |")
    for row in rows:
        pair = table.pair(row.title, dataset)
        found = less.get(row.title, {}).get(dataset)
        shown = ["", ""] if found is None else [interval(found[0], 3), interval(found[1], 2)]
        flag = f" ({pair['flag']})" if pair["flag"] else ""
        pgr = number(pair["pgr"], 2)
        if pair["pgr_low"] is not None:
            pgr += f" [{pair['pgr_low']:.2f}, {pair['pgr_high']:.2f}]"
        numbers = [number(pair["supervisor_acc"], 3), f"{pair['transfer_acc']:.3f}", pgr + flag]
        print(f"| {' | '.join([row.title, *numbers, *shown, table.published(dataset, row)])} |")
    print(f"| ceiling | | {first['ceiling_acc']:.3f} | 1 | | | |", flush=True)


def print_conclusions(table: Table) -> None:
    """Over all datasets."""
    print(f"\n### Over {', '.join(table.datasets)}\n")
    print("| better | than | accuracy | PGR | so here |\n|---|---|---|---|---|")
    for title, other in CONCLUSIONS:
        if not {title, other} <= table.rows.keys():
            continue
        accuracy, pgr = table.differences(title, other)[""]
        _, low, high = accuracy
        verdict = "not told" if low is None or high is None or low <= 0 <= high else "met" if low > 0 else "contrary"
        print(f"| {title} | {other} | {interval(accuracy, 3)} | {interval(pgr, 2)} | {verdict} |", flush=True)


def ablations(config: Mapping[str, Any]) -> dict[str, Any]:
    """The grid of ensemble sizes and turns; it shares transcripts and judges with the other."""
    of = {spec["name"]: spec for spec in config["supervisors"]}
    sizes = [{**of["debate-ensemble"], "name": f"members-{n}", "n_transcripts": n} for n in SIZES]
    turns = [{**of["single"], "name": f"turns-{n}", "n_turns": n} for n in SIZES]
    strong = config["pairs"][0][1]
    pairs = [[spec["name"], strong] for spec in (*sizes, *turns)]
    name = f"{config['name']}-ablations"
    return {**config, "name": name, "methods": ["xent"], "supervisors": [*sizes, *turns], "pairs": pairs}


def print_ablations(results: Path, grid: str, drawing: Path) -> None:
    """A table, and a figure."""
    import altair

    rows = {f"{kind}-{n}": (f"{kind}-{n}", "xent") for kind in ("members", "turns") for n in SIZES}
    table = Table(results, grid, rows)
    print("\n### Ensemble size and turns: PGR with 95 % interval\n")
    print("| dataset | of | " + " | ".join(map(str, SIZES)) + " |\n|---" + "|---" * (1 + len(SIZES)) + "|")
    points = []
    for dataset in table.datasets:
        for kind in ("members", "turns"):
            pairs = [table.pair(f"{kind}-{n}", dataset) for n in SIZES]
            points += [
                {
                    "dataset": dataset, "of": kind, "number": n, "PGR": pair["pgr"], "low": pair["pgr_low"],
                    "high": pair["pgr_high"],
                }
                for n, pair in zip(SIZES, pairs, strict=True)
            ]  # fmt: skip
            cells = (
                f"{number(pair['pgr'], 2)} [{number(pair['pgr_low'], 2)}, {number(pair['pgr_high'], 2)}]"
                for pair in pairs
            )
            print(f"| {dataset} | {kind} | {' | '.join(cells)} |", flush=True)
    x = altair.X("number:O", title="members, or turns", axis=altair.Axis(labelAngle=0))
    base = altair.Chart(altair.Data(values=points)).encode(x=x, color=altair.Color("dataset:N"))
    lines = base.mark_line(point=True).encode(y=altair.Y("PGR:Q", title="PGR, 95 % interval"))
    bars = base.mark_rule().encode(y="low:Q", y2="high:Q")
    altair.layer(bars, lines).properties(width=260, height=220).facet(column=altair.Column("of:N", title=None)).save(
        str(drawing)
    )
    print(f"\n{drawing}")


def real(preset: Mapping[str, Any], rows: Path, models: Path) -> dict[str, Any]:
    """The preset on real rows and models, with few rows and short turns."""
    rates = {"encoder-23m": 1e-4, "gemma": 2e-5, "smollm2": 3e-5, "encoder-110m": 3e-5}
    given = {spec["name"]: spec for spec in preset["supervisors"]}
    debater = {"kind": "local", "model": "smollm2", "max_tokens": 40}
    changes = {"judge": "encoder-23m", "debater": debater, "place": "after"}
    supervisors = [
        {**given["debate-ensemble"], **changes, "n_transcripts": 2},
        {**given["single"], **changes, "zero_shot": False},
        {**given["consultancy"], **changes},
        {**given["unrelated"], **changes},
        {**given["single"], **changes, "name": "single-gemma", "judge": "gemma", "zero_shot": True},
    ]
    return {
        **preset,
        "name": "real-debate",
        "datasets": ["sciq", "boolq"],
        "source": str(rows.absolute()),
        "models": [
            {"name": name, "path": str(models.absolute() / name), "lr": rate, "max_length": 384}
            for name, rate in rates.items()
        ],
        "supervisors": supervisors,
        "pairs": [[name, "encoder-110m"] for name in ("encoder-23m", *(spec["name"] for spec in supervisors))],
        "methods": ["xent"],
        "seeds": [0],
        "data": {"n_train": 400, "n_validation": 60, "n_test": 200, "max_chars": 900, "allow_fewer": True},
        "training": {"epochs": 2, "warmup_frac": 0.1},
    }


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets a home, the grid files and the figure")
    parser.add_argument("--grid", type=Path, default=PRESET, help="a TOML file with supervisors as the preset has them")
    parser.add_argument("--real", nargs=2, type=Path, metavar=("ROWS", "MODELS"), help="in the place of the preset")
    parser.add_argument("--datasets", nargs="+", help="in the place of the grid's")
    parser.add_argument("--seeds", type=int, help="so many, from 0, in the place of the grid's")
    parser.add_argument("--rows", type=int, help="of both halves together, in the place of the grid's")
    parser.add_argument("--ablations", action="store_true", help="also ensemble sizes and turns from 1 to 6")
    parser.add_argument("--plan", action="store_true", help="only say what it would cost")
    args = parser.parse_args()
    config: dict[str, Any] = tomllib.loads(args.grid.read_text(encoding="utf-8"))
    if args.real:
        config = real(config, *args.real)
    config["datasets"] = args.datasets or config["datasets"]
    config["seeds"] = list(range(args.seeds)) if args.seeds else config["seeds"]
    if args.rows:
        config["data"] = {**config["data"], "n_train": args.rows}
    args.folder.mkdir(parents=True, exist_ok=True)
    home = args.folder / "home"
    grids = [config, *([ablations(config)] if args.ablations else [])]
    for grid in grids:
        path = args.folder / f"{grid['name']}.toml"
        path.write_text(tomli_w.dumps(grid), encoding="utf-8")
        w2s(home, "plan" if args.plan else "run", str(path))
    if args.plan:
        return
    judge = next(spec["judge"] for spec in config["supervisors"] if spec["name"] == "debate-ensemble")
    supervised = {weak for weak, _ in config["pairs"]}
    shown = [row for row in ROWS if row.supervisor in {None, *supervised} and row.method in config["methods"]]
    rows = {row.title: (row.supervisor or judge, row.method) for row in shown}
    table = Table(home / "results.duckdb", config["name"], rows)
    less = {row.title: table.differences(row.title, FINETUNE) for row in shown if row.title != FINETUNE}
    for dataset in table.datasets:
        print_table(table, dataset, shown, less)
    print_conclusions(table)
    if args.ablations:
        print_ablations(home / "results.duckdb", grids[1]["name"], args.folder / "ablations.svg")


if __name__ == "__main__":
    main()
