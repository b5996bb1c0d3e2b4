"""The stages of debates: ``transcripts``, what is said about each row, and ``annotate``, rows with it for a judge.

Only files in, files out; what is said by whom is in ``w2s_core.debate``. What a debater says is text, and nothing else:
it is never read as a template, an instruction or a line of another speaker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from w2s_core.data.rows import n_shown, read_groups, read_rows, read_weak_probs
from w2s_core.debate.debaters.debater import DEBATERS, Asked, Spoken
from w2s_core.debate.protocol import filled, lines_of, role_of, side_of
from w2s_core.debate.texts import read_texts, write_texts
from w2s_core.errors import DataError
from w2s_core.hashes import stable_hash
from w2s_core.metrics import harden
from w2s_core.settings.setting import VIEWS, View
from w2s_core.watch import Checkpoint, Watch

FOR_DEBATERS = "{role}: {text}"
"""A line of the transcript as debaters see it, who are told the sides."""


def transcripts(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Let debaters speak about every row of a split.

    Goes on after the turns that were spoken when it was killed.

    Args:
        params: ``setting``; ``roles``, those of a ``Protocol`` with their names, in the order in which they speak;
            ``n_turns``; ``task`` and ``claims``, a ``Task``; ``debater``, settings of a kind of ``DEBATERS``, and
            beside it what else it takes; ``seed``.
        inputs: ``rows``; ``labels``, the plain supervisor's, where a role asks for its choice; what the debater reads.
        out: gets ``texts``.
        watch: hears of every turn.
    """
    rows = read_rows(inputs["rows"])
    view = VIEWS.get(params["setting"])
    shown = [{name: column[i] for name, column in some.items()} for some in rows.shown() for i in range(n_shown(some))]
    chosen = harden(read_weak_probs(inputs["labels"], rows.ids)).tolist() if "labels" in inputs else [None] * len(rows)
    roles, seed = params["roles"], params["seed"]
    sides = {
        role["name"]: [side_of(role["side"], id, seed, choice) for id, choice in zip(rows.ids, chosen, strict=True)]
        for role in roles
    }
    said: list[list[Spoken]] = [[] for _ in rows.ids]
    saved = watch.checkpoints and watch.checkpoints.resume({})
    if saved:
        said = [[Spoken(*turn) for turn in turns] for turns in saved.values["said"]]
    n_said, n_turns = sum(map(len, said)), params["n_turns"]

    def turns_of(row: int) -> list[dict[str, Any]]:
        about = [(role_of(roles, turn)["name"], spoken) for turn, spoken in enumerate(said[row])]
        return [{"role": name, "side": sides[name][row], **spoken._asdict()} for name, spoken in about]

    def keep() -> None:
        if watch.checkpoints:
            watch.checkpoints.save(Checkpoint(n_said, {}, {"said": [[list(s) for s in turns] for turns in said]}))

    speak = DEBATERS.get(params["debater"]["kind"]).open(params, inputs, watch)
    for turn in range(n_turns):
        waiting = [row for row in range(len(rows)) if len(said[row]) == turn]
        role = role_of(roles, turn)
        asked = []
        for row in waiting:
            before = lines_of(turns_of(row), FOR_DEBATERS, params["claims"])
            side = sides[role["name"]][row]
            write = partial(_prompt, params, role, side, before, view, shown[row])
            passage = shown[row][view.cut] if view.cut else ""
            question = "\n".join(text for name, text in shown[row].items() if name != view.cut)
            asked.append(Asked(rows.ids[row], turn, side, passage, question, write, int(rows.gt_labels[row])))
        try:
            for place, spoken in speak(asked):
                said[waiting[place]].append(spoken)
                n_said += 1
                if watch.checkpoints and watch.checkpoints.is_due():
                    keep()
                watch.progress(n_said, len(rows) * n_turns, "turns")
        except BaseException:
            keep()  # however it ends: what was said may have been paid for
            raise
    table = [
        {"id": id, "seed": seed, "turn": turn, **one} for row, id in enumerate(rows.ids)
        for turn, one in enumerate(turns_of(row))
    ]  # fmt: skip
    write_texts(out / "texts.parquet", table)
    return {
        "n": len(rows),
        "n_turns": n_turns,
        "n_cut": sum(one["is_cut"] for one in table),
        "n_empty": sum(not one["text"].strip() for one in table),
        "n_tokens": sum(one["n_tokens"] for one in table),
        "n_read": sum(one["n_read"] for one in table),
        "mean_chars": sum(len(one["text"]) for one in table) / len(table),
    }


def _prompt(
    params: Mapping[str, Any],
    role: Mapping[str, Any],
    side: int,
    before: str,
    view: View,
    shown: Mapping[str, Any],
    passage: str,
) -> str:
    claims = params["claims"]
    seen = {**shown, view.cut: passage} if view.cut else shown
    values = {
        "task": params["task"],
        "text": view.text({name: [value] for name, value in seen.items()})[0],
        "claim": claims[side],
        "other_claim": claims[1 - side],
        "transcript": before,
        "role": role["name"],
    }
    return filled((before and role["reply"]) or role["opening"], values).strip()


def annotate(params: dict[str, Any], inputs: dict[str, Path], out: Path, watch: Watch) -> dict[str, Any]:
    """Put its transcript to the passage of each row (what its setting cuts), as judges read it; all else stays.

    A passage that is too long for a model loses its beginning, and so does what stands there.

    Args:
        params: ``setting``; ``splits``; ``hearing``, of a ``Protocol``; ``claims``, of a ``Task``; ``place``, which is
            ``"after"`` the passage, so that this is cut first, or ``"before"`` it, the other way round.
        inputs: ``rows.SPLIT`` and ``texts.SPLIT``.
        out: gets the rows of each split.
        watch: hears of every split.
    """
    hearing, metrics = params["hearing"], {}
    cut = VIEWS.get(params["setting"]).cut
    if cut is None:
        raise DataError(f"rows of the setting {params['setting']!r} have no text to which a transcript could be put")
    for n_done, split in enumerate(params["splits"], 1):
        path = inputs[f"rows.{split}"]
        table = pq.read_table(path)
        ids = table["id"].to_pylist()
        spoken = read_texts(inputs[f"texts.{split}"], ids)
        heard = [
            lines_of(
                [turn for turn in spoken[id] if hearing["sees"] is None or turn["role"] in hearing["sees"]],
                hearing["line"],
                params["claims"],
            )
            for id in ids
        ]
        if hearing["transcript"] == "unrelated":
            heard = [heard[other] for other in unrelated(heard, read_groups(path), ids)]
        passages = [
            "\n".join(part for part in ((old, new) if params["place"] == "after" else (new, old)) if part)
            for old, new in zip(table[cut].to_pylist(), heard, strict=True)
        ]
        place = table.schema.get_field_index(cut)
        annotated = table.set_column(
            place, table.schema.field(place), pa.array(passages, table.schema.field(place).type)
        )
        pq.write_table(annotated, out / f"{split}.parquet", compression="zstd")
        metrics[f"mean_chars_{split}"] = sum(map(len, heard)) / len(heard)
        watch.progress(n_done, len(params["splits"]), "splits")
    return metrics


def unrelated(texts: Sequence[str], groups: Sequence[str], ids: Sequence[str]) -> list[int]:
    """For each text the index of another, of a row of another group, whose length is near; its own if there is none."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), stable_hash("order", ids[i])))
    found = [0] * len(texts)
    for place, index in enumerate(order):
        nearest = [
            next((i for i in side if groups[i] != groups[index]), None)
            for side in (islice(order, place + 1, None), map(order.__getitem__, range(place - 1, -1, -1)))
        ]
        others = [i for i in nearest if i is not None]
        found[index] = min(others, key=lambda i: abs(len(texts[i]) - len(texts[index])), default=index)
    return found
