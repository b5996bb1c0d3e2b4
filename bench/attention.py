"""Forward and backward pass with each attention kernel, by precision and length; ends with entries for the table.

The table is ``CHOICES`` in ``w2s_core/models/attention.py``. One process, kernels in turn, the best of some
repetitions. A batch has about as many tokens at every length; its texts are between two thirds as long and all of it.

    python bench/attention.py [--device cuda] [--subject gpt2-124m]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from subjects import SUBJECTS, machine, model_params
from transformers import logging

from w2s_core.models.attention import PLAIN, register_kernels
from w2s_core.models.classifier import Classifier, build

KERNELS = ("eager", "sdpa", PLAIN)
LENGTHS = (32, 64, 128, 256, 512)
PAYS = 0.97
"""Share of the fused kernel's time, up to which the other one counts as faster; it takes more memory."""


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--subject", default="encoder-long", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--tokens", type=int, default=4_096, help="per batch")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.disable_progress_bar()
    register_kernels()
    print(f"{machine(args.device)}; {args.subject}; milliseconds, forward + backward")
    with tempfile.TemporaryDirectory() as folder:
        subject = SUBJECTS[args.subject]
        base = subject.make(Path(folder))
        for precision in ("fp32", "bf16"):
            classifier = build(model_params(subject, base, precision=precision), base, seed=0).to(args.device).eval()
            best = {n: measure(classifier, n, args.tokens // n, args.repeats) for n in args.lengths}
            for n, seconds in best.items():
                cells = [f"{kernel} {1e3 * f:5.0f} + {1e3 * b:5.0f}" for kernel, (f, b) in seconds.items()]
                print(f"{precision} {n:4} tokens: " + ", ".join(cells), flush=True)
            pays = [sum(seconds[PLAIN]) < PAYS * sum(seconds["sdpa"]) for seconds in best.values()]
            longest = [n for i, n in enumerate(args.lengths) if all(pays[: i + 1])]
            entry = f'Choice("{args.device}", "{precision}", {longest[-1]})' if longest else "no entry"
            print(f"{precision}: {entry}")


def measure(classifier: Classifier, n_tokens: int, n_texts: int, n_repeats: int) -> dict[str, tuple[float, float]]:
    """Kernel to seconds of the forward and of the backward pass, of the fastest repetition."""
    device = classifier.device
    ids = torch.randint(5, 1_000, (n_texts, n_tokens), generator=torch.Generator().manual_seed(0)).to(device)
    lengths = torch.linspace(n_tokens * 2 // 3, n_tokens, n_texts, device=device).ceil()
    mask = (torch.arange(n_tokens, device=device) < lengths[:, None]).long()
    best: dict[str, tuple[float, float]] = {}
    for _ in range(n_repeats + 1):
        for kernel in KERNELS:
            classifier.backbone.set_attn_implementation(kernel)
            start = now(device)
            logits = classifier(ids, mask)
            half = now(device)
            logits.sum().backward()
            seconds = half - start, now(device) - half
            best[kernel] = min(best.get(kernel, seconds), seconds, key=sum)
            classifier.zero_grad()
    return best


def now(device: torch.device) -> float:
    """Seconds, when all that was started is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
