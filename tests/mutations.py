"""Seeded damage: grids, command lines and data files, each a little wrong.

``python -m tests.mutations 2000 1000 500 100`` tries so many of each, and runs so many of the files. What becomes of
them is asked through the command line, in this process: a line and an exit code, soon, never a traceback, and nothing
half-written. Command lines meet a home with a finished grid, which is made anew for each; runs share one server.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.store.local import LocalStore
from flows.cli import main as cli
from flows.serve.server import local_server
from tests.homes import tiny_grid
from tests.toy_runs import open_session, submitter

GRID = """\
datasets = ["sst2"]
models = ["offline-xs", "offline-s"]
methods = ["xent", {name = "conf", loss = {loss = "logconf", alpha_max = 0.5}}]
seeds = [0, 1]
pairs = "all"
source = "offline"
audit = true
retention = "all"

[data]
n_train = 100
n_test = 50
weak_fraction = 0.5
max_chars = 200

[training]
epochs = 1
batch_size = 8
max_grad_norm = 1.0
beta1 = 0.9
schedule = "cosine"

[runtime]
workers = 1
eval_at = [0.5]

[world]
zipf = 0.9
seed = 0
"""

VALUES = (
    "inf", "-inf", "nan", "1e999", "-1", "0", "1", "0.5", "true", '""', '"a"', '"\\u0000"', '"\\U0010FFFF"', "[]", "{}",
    "[[]]", "[1, 'a']", "9" * 30, "9" * 5_000, "0x" + "f" * 5_000, "[" * 100 + "]" * 100, "[" * 3_000, "1979-05-27",
    '"' + "x" * 3_000 + '"', '"../.."', '"hub"', '"~"', "[nan]", "[-0.0]",
    '{loss = "xent"}', "'é'", "1_000", "+7", "07",
)  # fmt: skip
"""As TOML, and where they are none, as text."""

WORDS = (
    *VALUES, "", "-", "--", "\udcff", "caf\udce9", "a/b", "/proc/x", ".", "..", "~nobody/x", "--set", "--format",
    "json", "parquet", "csv", "sst2", "sst3", "demo", "toy", "toy@1", "all", "--n", "--seeds", "0,", ",", "0,0",
    "--source", "--json", "--help", "--output", "--drop", "--dry-run", "--why", "--name", "out.json", "there",
    "new.toml",
    "--set=training.max_grad_norm=inf", "--set=data.n_train=" + "9" * 5_000, "--set=" + "a." * 2_000 + "b=1",
    "SELECT INTERVAL 1 MONTH", "SELECT 1; SELECT 2", "SELECT '9999999-01-01'::DATE", "DROP TABLE pgr",
    "x" * 5_000, "[b]",
    ":x:", "SELECT [1, NULL], {'a': 1}, 170141183460469231731687303715884105727::HUGEINT", "%s", "{}", "💥",
)  # fmt: skip

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("plan", "demo"), ("plan", "demo", "--why"), ("plan", "demo", "--json"),
    ("plan", "demo", "--set", "training.epochs=1"),
    ("plan", "demo", "--seeds", "0"), ("show", "sst2", "--n", "1", "--set", "data.n_train=20"),
    ("datasets",), ("models",),
    ("sql", "SELECT 1"), ("sql", "SELECT 1", "--format", "parquet"), ("sql", "SELECT * FROM pgr", "--output", "x.csv"),
    ("pgr",), ("pgr", "--grid", "toy", "--by", "seed"), ("explain", "0"), ("grids",), ("status",),
    ("store", "verify"), ("store", "gc", "--dry-run"), ("init", "new.toml"), ("figures", "--grid", "toy"),
    ("report",), ("report", "toy", "--output", "r.html"),
    ("datasets", "--format", "json"), ("models", "--output", "m.csv"), ("doctor", "--format", "json", "--output", "d"),
    ("store", "gc"), ("store", "gc", "--keep-replaced", "1"), ("store", "push", "there"), ("store", "pull", "there"),
    ("grids", "--drop", "toy"), ("figures", "--grid", "toy", "--output", "drawn"), ("deploy", "--pool", "p"),
    ("pgr", "--format", "json", "--output", "p.json"), ("show", "sst2", "--json"), ("init",),
    ("sql", "SELECT * FROM scores", "--format", "parquet", "--output", "s.parquet"), ("explain", "1", "--json"),
)  # fmt: skip
"""Those that start neither a server nor a stage."""

OPTIONS = ("--output", "--output", "--format", "--grid", "--by", "--set", "--source", "--datasets", "--n", "--pool")

LONGEST_S = 300
"""Above this it hangs, on any machine."""


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    printed: str
    traceback: str
    seconds: float
    left: tuple[str, ...] = ()
    """What is half-written afterwards."""

    @property
    def fault(self) -> str:
        """What should not be; empty where all is well."""
        if self.traceback or "Traceback" in self.printed or self.code not in (0, 1, 2):
            return self.traceback or self.printed[-2000:]
        if self.left:
            return f"half-written: {', '.join(self.left)}"
        return f"took {self.seconds:.0f} s" if self.seconds > LONGEST_S else ""


def command(*arguments: str) -> Outcome:
    """Run ``w2s`` with these arguments in this process."""
    before, sys.argv = sys.argv, ["w2s", *arguments]
    printed = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    clock, code, trace = time.monotonic(), 0, ""
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # what a shell would show as a traceback
        trace = traceback.format_exc()
    finally:
        sys.argv = before
    printed.seek(0)
    return Outcome(code, printed.read(), trace, time.monotonic() - clock)


def grids(seed: int, n: int) -> Iterator[bytes]:
    """``n`` grids as TOML files, of which one to three values or bytes are others."""
    chance = random.Random(seed)
    for _ in range(n):
        lines = GRID.splitlines()
        for _ in range(chance.randint(1, 3)):
            how = chance.random()
            at = chance.randrange(len(lines))
            name, equals, _ = lines[at].partition(" = ")
            if how < 0.7 and equals:
                lines[at] = f"{name} = {chance.choice(VALUES)}"
            elif how < 0.8:
                lines.insert(
                    at, chance.choice((f"x = {chance.choice(VALUES)}", "[x]", "[data.x]", lines[at], "]", "="))
                )
            elif how < 0.9:
                del lines[at]
            else:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)] + chance.choice(
                    ("", '"', "\x00", "é", "#")
                )
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        if chance.random() < 0.1:
            at = chance.randrange(len(text))
            text = text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        yield text


def command_lines(seed: int, n: int) -> Iterator[list[str]]:
    """``n`` command lines, of which one to three words or options are others, too many or gone."""
    chance = random.Random(seed)
    for _ in range(n):
        words = list(chance.choice(COMMANDS))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            # The command itself stays, and options mostly, or nearly all would be unknown ones.
            values = [i for i, word in enumerate(words) if i and not word.startswith("-")]
            at, how = chance.randint(1, len(words)), chance.random()
            if how < 0.5 and values:
                words[chance.choice(values)] = chance.choice(WORDS)
            elif how < 0.8:
                words += [chance.choice(OPTIONS), chance.choice(WORDS)]
            elif how < 0.9:
                words.insert(at, chance.choice(WORDS))
            else:
                del words[at : at + 1]
        yield [word.replace("\x00", "") for word in words]


LABELS: tuple[Any, ...] = (0, 1, 2, -1, None, True, 1.0, 0.5, "0", "yes", "positive", 10**30, [0], {"a": 1})


def damage(chance: random.Random, folder: Path) -> str:
    """Write ``train`` and ``test`` files of SST-2 into a folder, one of them damaged; say how."""
    rows = {
        split: [{"sentence": f"{split} sentence {i} is {'good' if i % 2 else 'bad'}", "label": i % 2} for i in range(n)]
        for split, n in (("train", 60), ("test", 30))
    }
    split, suffix = chance.choice(("train", "test")), chance.choice(("parquet", "jsonl"))
    how = chance.choice(
        ("cut", "flip", "flip", "zero", "empty", "label", "text", "null", "one class", "few", "encoding", "digits",
         "deep", "column", "type", "whole")
    )  # fmt: skip
    bad = rows[split]
    if how == "label":
        for row in chance.sample(bad, chance.choice((1, len(bad)))):
            row["label"] = chance.choice(LABELS)
    elif how == "text":
        bad[0]["sentence"] = chance.choice(("", " ", "\x00", "x" * 100_000, "\ud800", 7, ["a"]))
    elif how == "null":
        bad[chance.randrange(len(bad))][chance.choice(("sentence", "label"))] = None
    elif how == "one class":
        only = chance.choice((0, 1))
        rows[split] = [row for row in bad if row["label"] == only]
    elif how == "few":
        rows[split] = bad[: chance.randrange(8)]
    elif how == "column":
        rows[split] = [{"sentence": row["sentence"], "target": row["label"]} for row in bad]
    folder.mkdir(parents=True)
    for name in rows:
        path = folder / f"{name}.{suffix}"
        try:
            write(path, rows[name])
        except (pa.ArrowException, ValueError, TypeError, OverflowError):  # no Parquet file can be like that
            path = path.with_suffix(".jsonl")
            write(path, rows[name])
            with contextlib.suppress(FileNotFoundError):
                path.with_suffix(".parquet").unlink()
        if name == split:
            _spoil(path, how, chance)
    return f"{how} {split}.{suffix}"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A Parquet or a JSON Lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path, compression="none")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _spoil(path: Path, how: str, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data)) if data else 0
    if how == "cut":
        del data[at:]
    elif how in ("flip", "zero") and data:
        for place in chance.sample(range(len(data)), min(len(data), chance.choice((1, 1, 20)))):
            data[place] = 0 if how == "zero" else data[place] ^ (1 << chance.randrange(8))
    elif how == "empty":
        data.clear()
    elif how == "encoding":
        data = bytearray(
            bytes(data).decode("latin-1").replace("good", "gööd").encode(chance.choice(("latin-1", "utf-16")))
        )
    elif how == "digits":
        data += b'{"sentence": "x", "label": ' + b"9" * 5_000 + b"}\n"
    elif how == "deep":
        data += b'{"sentence": ' + b"[" * 100_000 + b"\n"
    elif how == "type":
        data = bytearray(chance.choice((b"PK\x03\x04", b"\x1f\x8b", b"[]", b"null\n", b"1\n", b"<html>")))
    path.write_bytes(data)


def half_written(home: Path) -> list[str]:
    """What lies in the store and is no complete artifact: drafts, folders without a manifest, files that are cut."""
    store = LocalStore(home / "store")
    hidden = [str(path.relative_to(store.root)) for path in store.root.glob("*/.*")]
    return hidden + [f"{stage}/{key}" for stage, key in store.artifacts() if store.problem(stage, key) is not None]


def of_command_lines(folder: Path, lines: Iterable[list[str]]) -> Iterator[tuple[list[str], Outcome]]:
    """What becomes of each in a home with a finished grid, and in an empty folder: a refusal leaves no file there."""
    whole, home = folder / "whole", folder / "home"
    session = open_session(whole)
    session.run(submitter(session, []), n_at_once=4)
    # Some words lead to the folders above.
    here = folder / "a" / "b" / "here"
    for words in lines:
        for path in (home, folder / "a"):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, home)
        here.mkdir(parents=True)
        os.chdir(here)
        ended = command(*words)
        written = [path for path in here.parent.parent.rglob("*") if path.is_file()] if ended.code else []
        # What of a store can be pushed stays where it was pushed to.
        left = [str(path) for path in written if words[:2] != ["store", "push"]]
        yield words, ended._replace(left=(*half_written(home), *left))


def main(n_grids: int, n_lines: int, n_files: int, n_runs: int) -> None:
    """Try everything, and print how it ended."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.chdir(folder)
        os.environ["W2S_HOME"] = str(folder / "home")
        (folder / "tiny.toml").write_text(tiny_grid(audit=True))
        _report("grids", (_of_grid(text) for text in grids(0, n_grids)))
        _report("command lines", (ended for _, ended in of_command_lines(folder, command_lines(0, n_lines))))
        os.chdir(folder)
        _report("data files, show", of_files(folder, n_files, "show", "sst2", "--n", "1"))
        _report("data files, audit", of_files(folder, n_files, "audit", "sst2"))
        with local_server(folder / "home", print) if n_runs else contextlib.nullcontext():
            _report("data files, run", of_files(folder, n_runs, "run", "tiny.toml"))


def _report(kind: str, outcomes: Iterable[Outcome]) -> None:
    """Print a line, and below it what should not be."""
    codes: Counter[int] = Counter()
    faults: Counter[str] = Counter()
    slowest = 0.0
    for outcome in outcomes:
        codes[outcome.code] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.fault:
            faults[outcome.fault] += 1
    print(f"{kind}: exit codes {dict(codes)}, faults {faults.total()}, slowest {slowest:.1f} s", flush=True)
    for text, n in faults.most_common(8):
        print(n, text, flush=True)


def _of_grid(text: bytes) -> Outcome:
    Path("grid.toml").write_bytes(text)
    return command("plan", "grid.toml")


def of_files(folder: Path, n: int, *words: str, seed: int = 0) -> Iterator[Outcome]:
    """What becomes of a command on ``n`` damaged sources, in the home below ``folder``."""
    chance = random.Random(seed)
    for number in range(n):
        source = folder / f"{words[0]}-{number}"
        how = damage(chance, source / "sst2")
        ended = command(*words, "--source", str(source))
        yield ended._replace(left=tuple(f"{how}: {name}" for name in half_written(folder / "home")))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
