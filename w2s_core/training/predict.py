"""What a trained model answers: probabilities of classes, or the tokens of texts."""

from __future__ import annotations

import numpy as np
import torch

from w2s_core.data.rows import Rows
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import Forward, Setting
from w2s_core.training.backward import fewer_tokens
from w2s_core.training.distributed import join
from w2s_core.training.encoded import encoded
from w2s_core.training.portions import micro_batches
from w2s_core.watch import Watch

CPU_TOKENS = 2_048
"""Tokens per forward pass of a prediction on a CPU, where more is slower (half as fast at 16,384)."""


def predict(setting: Setting, classifier: Classifier, rows: Rows, watch: Watch) -> np.ndarray:
    """What ``predict_tokens`` finds, in the order of the rows."""
    return predict_tokens(Forward(setting, classifier, encoded(setting, rows, classifier, watch)), watch)


def predict_tokens(forward: Forward, watch: Watch) -> np.ndarray:
    """The probabilities of each example, [N, C] float64, or where answers are texts their tokens, [N, W], in every
    process; leaves the model in its mode for them."""
    classifier, tokens = forward.classifier, forward.tokens
    group = join(watch.n_devices, watch.device)
    classifier.to(watch.device).eval()
    classifier.use_attention_for(int(tokens.longest.max()))
    micro_tokens = min(watch.micro_tokens, CPU_TOKENS) if classifier.device.type == "cpu" else watch.micro_tokens
    answer = _probs if forward.setting.decode is None else _decoded
    found: np.ndarray | None = None
    is_packed = classifier.is_packed
    portions = micro_batches(tokens.lengths, np.arange(len(tokens)), micro_tokens, is_packed=is_packed)
    n_done = 0
    while portions:
        # One portion each; where there are fewer, some compute what another does too, since all have to compute.
        turn = portions[: group.size]
        try:
            # Not inference_mode: what a model computed in it and kept could not be trained on afterwards.
            with torch.no_grad():
                of_portion = answer(forward, turn[group.rank % len(turn)])
        except torch.OutOfMemoryError as error:
            enough = fewer_tokens(forward, turn, error, group)
            watch.say(f"out of memory: from now on {enough} tokens at a time, not {micro_tokens}")
            micro_tokens = enough
            portions = micro_batches(tokens.lengths, np.concatenate(portions), micro_tokens, is_packed=is_packed)
            continue
        if found is None:
            found = np.zeros((len(tokens), of_portion.shape[1]))
        if group.rank < len(turn):
            found[turn[group.rank]] = of_portion.cpu().numpy()
        n_done += sum(len(portion) for portion in turn)
        del portions[: len(turn)]
        watch.progress(n_done, len(tokens), "rows")
    assert found is not None  # there is no split without rows
    return found if group.size == 1 else group.sum(torch.from_numpy(found).to(classifier.device)).cpu().numpy()


def _probs(forward: Forward, portion: np.ndarray) -> torch.Tensor:
    return forward.setting.probs(forward(portion))


def _decoded(forward: Forward, portion: np.ndarray) -> torch.Tensor:
    assert forward.setting.decode is not None
    return forward.setting.decode(forward.classifier, forward.tokens, portion)
