"""What a worker hands from one stage to the next: tokens of splits, and the model that was last read.

Both only save time: without them a stage gets the same. A model is kept only from one stage to the next that reads it,
so that no training has less memory, and nothing stays on a GPU between stages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from w2s_core.data.tokens import Tokens
    from w2s_core.models.classifier import Classifier

MOST_TOKEN_BYTES = 256 << 20
"""Of all tokens; they are mapped from files without names, which the disk has, not the memory."""

MOST_MODEL_BYTES = 2 << 30
"""Of a model; a larger one is read again."""


class Kept:
    """Of the stages of one process, which run one after the other."""

    def __init__(self, most_token_bytes: int = MOST_TOKEN_BYTES, most_model_bytes: int = MOST_MODEL_BYTES) -> None:
        self._most_token_bytes = most_token_bytes
        self._most_model_bytes = most_model_bytes
        self._tokens: dict[Hashable, Tokens] = {}
        """In the order of their last use."""
        self._model: tuple[str, Classifier] | None = None

    def begin(self, digests: Iterable[str]) -> None:
        """A stage begins with inputs of these digests: a model that it does not read goes."""
        if self._model is not None and self._model[0] not in digests:
            self._model = None

    def end(self) -> None:
        """A stage has ended, well or not: its model leaves the GPU, or goes if it is large."""
        if self._model is None:
            return
        digest, classifier = self._model
        n_bytes = sum(weight.nbytes for weight in classifier.parameters())
        try:
            self._model = (digest, classifier.cpu()) if n_bytes <= self._most_model_bytes else None
        except RuntimeError:  # such as of a device that has failed; the stage says so itself
            self._model = None

    def tokens(self, key: Hashable, make: Callable[[], Tokens]) -> Tokens:
        """See ``w2s_core.watch.Watch``; those that were not used for longest go first."""
        found = self._tokens.pop(key, None)
        if found is None:
            found = make()
        self._tokens[key] = found
        n_bytes = sum(map(_n_bytes, self._tokens.values()))
        while n_bytes > self._most_token_bytes:
            n_bytes -= _n_bytes(self._tokens.pop(next(iter(self._tokens))))
        return found

    def model(self, digest: str, make: Callable[[], Classifier]) -> Classifier:
        """The classifier whose folder has this digest."""
        if self._model is None or self._model[0] != digest:
            self._model = None  # before there are two
            self._model = digest, make()
        return self._model[1]


def _n_bytes(tokens: Tokens) -> int:
    return tokens.ids.nbytes + tokens.offsets.nbytes + tokens.longest.nbytes
