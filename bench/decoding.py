"""Greedy decoding: this engine's against plain ``generate`` on batches in the order of the rows; the last line is the
ratio of tokens per second.

Prompts of mixed length and a model that starts at random, the same for both, alternating in one process; tokenizing
does not count. Both go on for as many tokens at most, and stop where a text ends.

    python bench/decoding.py [--rows 400] [--rounds 3] [--path FOLDER]      FOLDER holds a causal language model
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, logging

from w2s_core.config import WorldConfig
from w2s_core.data.rows import Rows
from w2s_core.entries.prompt import AS_IT_IS
from w2s_core.models.classifier import Classifier, build
from w2s_core.offline.world import build_tokenizer, build_world
from w2s_core.settings.setting import SETTINGS, Forward
from w2s_core.training.predict import predict_tokens
from w2s_core.watch import Silent

BATCH_SIZE = 32
"""Of plain ``generate``."""
MAX_LENGTH = 256
SHORTEST, LONGEST = 4, 200
"""Words of a prompt."""


def base(folder: Path) -> Path:
    """A small GPT-2 that starts at random, with the tokenizer of the generated world."""
    tokenizer = build_tokenizer(build_world(WorldConfig()), None, MAX_LENGTH)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=MAX_LENGTH, n_embd=128, n_layer=4, n_head=4,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prompts(n: int) -> Rows:
    """Words of the generated world, from few to many."""
    world, rng = build_world(WorldConfig()), np.random.default_rng(0)
    texts = [world.text(world.topic(rng), (SHORTEST, LONGEST), rng) for _ in range(n)]
    shown = {"prompt": texts, "answer": ["0"] * n, "about": [""] * n}
    return Rows([str(i) for i in range(n)], np.zeros(n, np.int8), lambda: iter([shown]))


def ours(forward: Forward) -> tuple[float, np.ndarray]:
    """Seconds, and the tokens of each answer, [N, W]."""
    start = time.perf_counter()
    said = predict_tokens(forward, Silent(device=str(forward.classifier.device)))
    return time.perf_counter() - start, said


def plain(model: torch.nn.Module, classifier: Classifier, forward: Forward) -> tuple[float, np.ndarray]:
    """The same by ``generate``, in the order of the rows."""
    tokens, n_new, end = forward.tokens, forward.setting.n_decoded, classifier.tokenizer.eos_token_id
    assert tokens.n_asked is not None
    said = np.full((len(tokens), n_new), -1)
    start = time.perf_counter()
    for first in range(0, len(tokens), BATCH_SIZE):
        rows = range(first, min(first + BATCH_SIZE, len(tokens)))
        asked = [tokens.ids[tokens.offsets[i] : tokens.offsets[i] + tokens.n_asked[i]] for i in rows]
        longest = max(map(len, asked))
        ids = torch.full((len(asked), longest), classifier.pad_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(asked):
            ids[row, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            mask[row, longest - len(prompt) :] = 1
        found = model.generate(
            input_ids=ids.to(classifier.device), attention_mask=mask.to(classifier.device), max_new_tokens=n_new,
            do_sample=False, pad_token_id=classifier.pad_id, eos_token_id=end,
        )[:, longest:].cpu().numpy()  # fmt: skip
        ended = np.cumsum(found == end, axis=1) > 0
        said[first : first + len(asked), : found.shape[1]] = np.where(ended, -1, found)
    return time.perf_counter() - start, said


def main() -> None:
    """See the first lines of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--path", type=Path)
    given = parser.parse_args()
    logging.set_verbosity_error()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        path = given.path or base(Path(folder) / "base")
        params = {**AS_IT_IS, "n_layers": None, "max_length": MAX_LENGTH, "hub": None}
        classifier = build(params, path, 0, None).to(device).eval()
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(device).eval()
        setting = SETTINGS.get("move")
        forward = Forward(setting, classifier, setting.encode(prompts(given.rows), classifier, Path(folder)))
        rates: dict[str, list[float]] = {"ours": [], "generate": []}
        alike = 0.0
        for _ in range(given.rounds):
            seconds, said = ours(forward)
            rates["ours"].append(int((said >= 0).sum()) / seconds)
            seconds, other = plain(model, classifier, forward)
            rates["generate"].append(int((other >= 0).sum()) / seconds)
            alike = float(np.mean((said == other).all(1)))
    told = {name: round(statistics.median(each), 1) for name, each in rates.items()}
    ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    print(json.dumps({"device": device, "tokens_per_s": told, "rows_alike": alike, "ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
