"""The tokens of rows, which stages of one process share: trainings, labels and scores of a grid read the same splits.

What an example's tokens are is for its setting to say; what is kept, and how long, for the watch.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from w2s_core.data.rows import Rows
from w2s_core.models.classifier import Classifier
from w2s_core.settings.setting import Encoded, Setting
from w2s_core.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encoded(setting: Setting, rows: Rows, classifier: Classifier, watch: Watch) -> Encoded:
    """As ``setting.encode``, at once where this process has encoded the same texts with an equal tokenizer.

    What is no text is encoded again each time.
    Of the classifier, an encoding depends on the tokenizer and the greatest length only.

    Raises:
        DataError: see ``setting.encode``.
    """

    def make() -> Encoded:
        return setting.encode(rows, classifier, watch.scratch)

    tokenizer = None if classifier.tokenizer is None else _tokenizer_digest(classifier.tokenizer)
    if tokenizer is None or not watch.keeps_tokens:
        return make()
    return watch.tokens((setting.encode, classifier.max_length, tokenizer, _rows_digest(rows)), make)


def _tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Of all that decides the tokens of a text; None for a tokenizer that is no file, but a program."""
    if not tokenizer.is_fast:
        return None
    special = [type(tokenizer).__name__, tokenizer.sep_token_id, tokenizer.split_special_tokens]
    return hashlib.sha256(f"{json.dumps(special)}{tokenizer.backend_tokenizer.to_str()}".encode()).hexdigest()


def _rows_digest(rows: Rows) -> str:
    """Of what the rows show, and of what tells them apart, which errors name."""
    digest = hashlib.sha256(json.dumps(rows.ids).encode())
    for shown in rows.shown():
        digest.update(json.dumps(dict(shown)).encode())
    return digest.hexdigest()
