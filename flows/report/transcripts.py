"""Prints transcripts of debates that are in the store, as a person reads them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from artifacts.errors import UsageError
from artifacts.store.contract import Store
from artifacts.store.manifest import Manifest
from w2s_core.debate.protocol import one_line


def print_transcripts(console: Console, store: Store, dataset: str, n: int, *, as_json: bool) -> None:
    """Print what was said last about the first rows of a dataset: of the student's half, if that was spoken about.

    Args:
        console: where to.
        store: what was said.
        dataset: its name.
        n: how many rows.
        as_json: for programs.

    Raises:
        UsageError: nothing was said about the dataset.
    """
    manifests = [m for m in store.manifests() if m.stage == "transcripts" and m.labels.get("dataset") == dataset]
    if not manifests:
        raise UsageError(
            f"no transcripts of {dataset} are in {store.url}; a supervisor of kind 'debate' in a grid makes them"
        )
    manifest = max(manifests, key=lambda m: (m.labels.get("half") == "transfer_train", m.timings["started"]))
    spoken = read_transcripts(store, manifest, n=n)
    if as_json:
        json.dump(spoken, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for row in spoken:
        title = f"label {row['gt_label']}: {row['truth']} (seed {row['seed']}, id {row['id'][:8]})"
        console.print(title, style="bold", markup=False, highlight=False)
        console.print(f"{row['text']}\n", markup=False, highlight=False, soft_wrap=True)
        for turn in row["turns"]:
            is_right = "right" if turn["side"] == row["gt_label"] else "wrong"
            cut = " […]" if turn["is_cut"] else ""
            line = f"  {turn['role']}, who argues that {turn['claim']} ({is_right}): {one_line(turn['text'])}{cut}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print()


def read_transcripts(
    store: Store, manifest: Manifest, ids: Sequence[str] | None = None, *, n: int | None = None
) -> list[dict[str, Any]]:
    """What was said about rows, with their texts, what is true of them, and what each turn claims.

    Args:
        store: where it is.
        manifest: of the stage ``transcripts``.
        ids: of the rows, in any order; None: all.
        n: of these rows the first so many; None: all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from w2s_core.debate.texts import read_texts
    from w2s_core.settings.setting import VIEWS

    def table(stage: str, key: str, output: str) -> Path:
        return store.output_path(stage, key, output)

    about = manifest.inputs["rows"]
    found = pq.read_table(table(about["stage"], about["key"], about["output"]))
    if ids is not None:
        found = found.filter(pc.is_in(found["id"], pa.array(ids, pa.string())))
    rows = found.slice(0, n).to_pylist()
    texts = read_texts(table(manifest.stage, manifest.key, "texts"), [row["id"] for row in rows])
    claims = manifest.params["claims"]
    view = VIEWS.get(manifest.params["setting"])
    return [
        {
            "id": row["id"],
            "seed": manifest.params["seed"],
            "gt_label": row["gt_label"],
            "truth": claims[row["gt_label"]],
            "text": view.text({name: [row[name]] for name in view.shows})[0],
            "turns": [
                {
                    **{name: turn[name] for name in ("role", "side", "text", "is_cut", "n_tokens")},
                    "claim": claims[turn["side"]],
                }
                for turn in texts[row["id"]]
            ],
        }
        for row in rows
    ]
