"""Classes that a folder numbers otherwise are mapped, and every command that reads them says so once."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.plan.graph import FromPath
from flows.plan.grid import GridConfig
from flows.plan.resolve import resolve_audits
from tests.mutations import command
from w2s_core.entries.prepare import prepare
from w2s_core.watch import Silent

NOTE = (
    "labels of column 'label' of train and test are mapped: "
    "'positive' is 0 there and 1 here, 'negative' is 1 there and 0 here"
)
REVERSED = ["positive", "negative"]
USUAL = ["negative", "positive"]


def described(folder: Path, names: list[str], place: str) -> tuple[str, str]:
    """Two shards of every split, which call their classes ``names``; the option that reads them."""
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    base = folder / "sst2"
    base.mkdir(parents=True)
    for split in ("train", "test"):
        rows = [{"sentence": f"{split} {i} is {word}", "label": names.index(word)} for i in range(20) for word in USUAL]
        for shard in range(2):
            name = f"{split}-{shard:05}-of-00002"
            if place == "metadata":
                table = pa.Table.from_pylist(rows[shard::2]).replace_schema_metadata(about)
                pq.write_table(table, base / f"{name}.parquet")
            else:
                (base / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[shard::2]))
    if place == "card":
        (base / "dataset_info.json").write_text(json.dumps({"features": features}))
    return "--source", str(folder)


@pytest.mark.parametrize("place", ["metadata", "card"])
def test_mapped_classes_are_right_and_said_once(place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = described(tmp_path / "raw", REVERSED, place)

    for words in (("plan", "demo", "--datasets", "sst2"), ("show", "sst2", "--json"), ("audit", "sst2")):
        ended = command(*words, *source)
        assert ended.code == 0, ended.printed
        assert re.sub(r"\s+", " ", ended.printed).count(NOTE) == 1, ended.printed
    assert re.search(r"^labels\.mapped +1", ended.printed, re.MULTILINE), "the audit's table has it"
    assert f"warn: sst2: all: {NOTE}" in ended.printed

    config = GridConfig.model_validate({"datasets": ["sst2"], "source": source[1], "data": {"allow_fewer": True}})
    (node,) = resolve_audits(config, {}, with_models=False).nodes.values()
    inputs = {name: given.path for name, given in node.inputs.items() if isinstance(given, FromPath)}
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        prepare(node.params, inputs, tmp_path, Silent())
    assert caplog.messages == [f"sst2: {NOTE}"]
    rows = pq.read_table(tmp_path / "weak_train.parquet").to_pylist()
    assert {("positive" in row["prompt"] + row["passage"], row["gt_label"]) for row in rows} == {(True, 1), (False, 0)}


@pytest.mark.parametrize("place", ["metadata", "card"])
def test_of_usual_classes_nothing_is_said(place: str, tmp_path: Path) -> None:
    source = described(tmp_path / "raw", USUAL, place)
    # An audit takes a worker; what it says does not depend on the place.
    audit = [("audit", "sst2")] if place == "card" else []
    for words in (("plan", "demo", "--datasets", "sst2"), ("show", "sst2"), *audit):
        ended = command(*words, *source)
        assert ended.code == 0, ended.printed
        assert "are mapped" not in ended.printed
