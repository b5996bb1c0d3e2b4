"""Normal forms of answers that are texts: when two of them are one, and which are right.

What a dataset of such answers brings besides its rows. Forms are registered beside their datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from w2s_core.registry import Registry


class Said(NamedTuple):
    """One answer, in normal form, beside the truth."""

    answer: str
    truth: str
    is_right: bool
    about: str
    """See ``TextExample.about``."""


def as_it_is(answer: str, about: str) -> str:
    """The answer itself."""
    return answer


def only_the_truth(answer: str, truth: str, about: str) -> bool:
    """No other answer is right."""
    return answer == truth


def no_metrics(said: Sequence[Said]) -> Mapping[str, float | None]:
    """Nothing but how often answers are right."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """How texts are read as answers; ``about`` is what the dataset says of the example."""

    normal: Callable[[str, str], str]
    """``(text, about) -> answer``: the same for all texts that mean the same; a text that is no answer stays as it is,
    without white space around it."""
    written: Callable[[str, str], str] = as_it_is
    """``(answer, about) -> text``: how a student learns an answer in normal form."""
    is_right: Callable[[str, str, str], bool] = only_the_truth
    """``(answer, truth, about)``, both in normal form."""
    metrics: Callable[[Sequence[Said]], Mapping[str, float | None]] = no_metrics
    """What a score says of answers besides how often they are right."""


FORMS: Registry[AnswerForm] = Registry(
    "form of answers", param="form", modules=("w2s_core.data.arithmetic", "w2s_core.data.moves")
)
