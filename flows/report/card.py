"""A model card for exported weights: what made them, how they scored, and how to use them without this project."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from artifacts.errors import UsageError
from artifacts.files import TEMPORARY
from artifacts.store.contract import Store
from artifacts.store.manifest import Manifest
from flows.home import Home, output_kinds
from flows.report.status import versions

TASK = {"type": "text-classification", "name": "Text classification, two classes"}
MEASURES = ("accuracy", "auroc")

USES = {
    "sequence-classification": """
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
logits = model(**tokenizer(text, return_tensors="pt")).logits  # [1, 2]
""",
    "backbone and head": """
from safetensors.torch import load_file
from torch.nn.functional import linear
from transformers import AutoModel, AutoTokenizer

model, tokenizer = AutoModel.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
head = load_file(FOLDER + "/head.safetensors")
states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]  # [T, D]
logits = linear(POOLED, head["weight"], head.get("bias"))
""",
    "language model": """
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
""",
}
"""By the form of the weights."""

POOLED = {"last": "states[-1]", "first": "states[0]", "mean": "states.mean(0)"}


def export_node(home: Home, wanted: str, out: Path, output: str | None = None) -> None:
    """Write the weights of a node as a folder of transformers with a card, ``README.md``.

    Args:
        home: the project.
        wanted: the start of the id or key of a node that makes a model.
        out: a folder that is not there yet, or is empty.
        output: which weights, where stopping rules took several.

    Raises:
        UsageError: no such node, it makes no model, its weights were evicted, or ``out`` has something in it.
    """
    store = home.open_store()
    found = versions(store, wanted)
    if not found:
        raise UsageError(f"no node or key of the store starts with {wanted!r}; `w2s plan GRID --why` lists node ids")
    made = found[-1]
    output = _chosen(made, output)
    if made.outputs[output].evicted:
        raise UsageError(
            f"{made.stage} {made.key[:12]}: its weights were evicted; `w2s run` with retention=all keeps them"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already, and not empty; name another folder")
    source = store.output_path(made.stage, made.key, output)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=TEMPORARY, ignore_cleanup_errors=True) as scratch:
            made_here = Path(scratch) / "model"
            form, pooling = _write_weights(source, made_here)
            text = card(made, output, form, pooling, scores_of(store, made, output))
            (made_here / "README.md").write_text(text, encoding="utf-8")
            made_here.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror or error}") from error


def _write_weights(source: Path, out: Path) -> tuple[str, str]:
    """Write them, and say in which of the forms of ``USES``, and whose hidden state a head reads."""
    if not (source / "classifier.json").exists():
        shutil.copytree(source, out)
        return "language model", "last"
    from w2s_core.models.export import export, pooling_of_saved  # loads torch

    return export(source, out), pooling_of_saved(source)


def _chosen(made: Manifest, output: str | None) -> str:
    """The output of weights that is meant.

    Raises:
        UsageError: there is none, it has another name, or there are several and none is named.
    """
    models = [name for name, kind in output_kinds(made.stage, made.params).items() if kind == "model"]
    if not models:
        raise UsageError(f"{made.stage} {made.key[:12]} makes no model; name a node that trains one")
    if output is None and len(models) > 1:
        raise UsageError(f"{made.stage} {made.key[:12]} has several weights: --weights is one of {', '.join(models)}")
    if output is not None and output not in models:
        raise UsageError(f"--weights is {output!r}; {made.stage} {made.key[:12]} has {', '.join(models)}")
    return output or models[0]


def scores_of(store: Store, made: Manifest, output: str) -> list[Manifest]:
    """What was scored with these weights."""
    return [
        manifest
        for manifest in store.manifests()
        if manifest.stage == "score"
        and any(entry["key"] == made.key and entry["output"] == output for entry in manifest.inputs.values())
    ]


def card(made: Manifest, output: str, form: str, pooling: str, scores: Iterable[Manifest]) -> str:
    """The text of a card in the format of the Hugging Face Hub: metadata in YAML, then prose."""
    import yaml

    labels = {name: value for name, value in made.labels.items() if value is not None}
    title = " ".join(map(str, [made.stage, *labels.values()]))
    results = [_result(score) for score in scores]
    metadata: dict[str, Any] = {"library_name": "transformers", "tags": ["weak-to-strong"]}
    if results:
        metadata["model-index"] = [{"name": title, "results": results}]
    lines = [
        "---",
        yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {title}",
        "",
        "Weights of one stage of a weak-to-strong experiment (w2s). What it reads is passage, line break, prompt.",
        "",
        "```python",
        USES[form].replace("POOLED", POOLED[pooling]).strip(),
        "```",
        "",
        *_table("What it is", labels | {"weights": output, "node": made.node, "key": made.key}),
        *_table("Parameters", made.params),
        *_table("Metrics of its training", made.metrics),
        *_table(
            "Read", {name: entry["path"] or f"{entry['stage']} {entry['key']}" for name, entry in made.inputs.items()}
        ),
        *_table("Made with", {**_without_place(made.environment), "code": made.code_digest, **made.timings}),
    ]
    return "\n".join(lines)


def _result(score: Manifest) -> dict[str, Any]:
    dataset = {"name": score.labels.get("dataset"), "type": score.labels.get("dataset"), "split": "test"}
    metrics = [{"type": name, "value": score.metrics[name]} for name in MEASURES if score.metrics.get(name) is not None]
    return {"task": TASK, "dataset": dataset, "metrics": metrics}


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    if not values:
        return []
    rows = [f"| {name} | {_inline(value)} |" for name, value in values.items()]
    return [f"## {title}", "", "| | |", "|---|---|", *rows, ""]


def _without_place(environment: Mapping[str, Any]) -> dict[str, Any]:
    """A machine's name is nobody else's business, and a flow run is nowhere else."""
    return {name: value for name, value in environment.items() if name not in ("host", "flow_run")}


def _inline(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
