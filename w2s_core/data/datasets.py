"""What a dataset is to us: where it comes from, and how one of its rows becomes examples.

The datasets themselves are registry entries in the modules that ``DATASETS`` names; sampling and splits are in
``prepare``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, Literal, NamedTuple, Protocol

from w2s_core.registry import Registry, UnknownNameError

RawRow = Mapping[str, Any]
"""One row of a source: the columns that the dataset asks for, with values of the types it asks for."""

Draw = Callable[[int], int]
"""``draw(n)`` is an integer in [0, n), decided by the content of the row and the data seed alone."""


class Formatted(Protocol):
    """One example as its dataset makes it, whatever its setting."""

    @property
    def shown(self) -> tuple[Any, ...]:
        """The values of the columns that its setting shows, in their order."""

    @property
    def gt_label(self) -> int:
        """The number of its class: 0 or 1, where there are two."""

    @property
    def group(self) -> str:
        """Text that related examples share; they end up in the same split."""

    @property
    def candidate(self) -> str:
        """Tells the examples of one row apart."""

    @property
    def also(self) -> str:
        """Another text that related examples share, as their group or as this; may be empty."""


class Example(NamedTuple):
    """An example of two classes. The model reads the passage, a line break, and the prompt."""

    passage: str
    """May be empty; a model with a short context drops its beginning."""
    prompt: str
    """Never truncated."""
    gt_label: int
    """0 or 1."""
    group: str
    """Text that related examples share; they end up in the same split."""
    candidate: str = ""
    """Tells the examples of one row apart."""
    also: str = ""
    """Another text that related examples share, as their group or as this."""

    @property
    def shown(self) -> tuple[str, str]:
        """See ``Formatted``."""
        return self.passage, self.prompt


class Preference(NamedTuple):
    """A pair of completions. The model reads the passage, a line break, and either of them."""

    passage: str
    """A dialogue or an instruction; a model with a short context drops its beginning."""
    first: str
    """Never truncated, as the second."""
    second: str
    gt_label: int
    """1 if the second is preferred, else 0."""
    group: str
    candidate: str = ""
    also: str = ""

    @property
    def shown(self) -> tuple[str, str, str]:
        """See ``Formatted``."""
        return self.passage, self.first, self.second


class Picture(NamedTuple):
    """An encoded image of one of K classes."""

    image: bytes
    """A file of it, such as PNG or JPEG."""
    gt_label: int
    group: str
    """Of its pixels: what is the same image ends up in the same split."""
    candidate: str = ""
    also: str = ""

    @property
    def shown(self) -> tuple[bytes]:
        """See ``Formatted``."""
        return (self.image,)


class TextExample(NamedTuple):
    """A prompt with the text that is its answer. The model reads the prompt and goes on."""

    prompt: str
    """A model with a short context drops its beginning."""
    answer: str
    """Never truncated."""
    group: str
    about: str = ""
    """What the form of the answers has to know of the example."""
    candidate: str = ""
    also: str = ""
    gt_label: int = 0
    """There are no classes: the truth is the answer."""

    @property
    def shown(self) -> tuple[str, str, str]:
        """See ``Formatted``."""
        return self.prompt, self.answer, self.about


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Kind of a column that says a class or which answer is right, by whatever a file writes for that."""

    names: tuple[tuple[str, ...], ...] = ()
    """What each number from 0 on is called, the usual name first."""
    is_binary: bool = True
    """Whether there are two classes, of which 1 is yes."""
    kind: type[int] | type[bool] | type[str] = int
    """What ``format`` reads."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """Kind of a column of images: the bytes of a file, alone or as the field ``bytes`` of a struct, as the Hub has
    them; ``format`` reads bytes."""


Kind = type | GenericAlias | Mapping[str, "Kind"] | Label | EncodedImage
"""Type of a column's values: ``str``, ``int``, ``bool``, a list (``list[str]``), a struct (field to kind), a label, an
image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset of examples of one setting."""

    hub_id: str
    hub_config: str | None = None
    hub_dir: str | None = None
    """The folder of the repository that has the files, where it has several of the same splits."""
    hub_revision: str = "main"
    """Where a repository's main branch holds a loading script, the branch to which the Hub has converted its rows."""
    hub_aliases: tuple[str, ...] = ()
    """Other ids of the same rows, tried in turn where ``hub_id`` is not to be had."""
    splits: Mapping[Literal["train", "test"], str]
    """Our split to the Hub's."""
    prefix: int | None = None
    """Rows of each split that are streamed from the Hub instead of downloading a large dataset whole; None: all."""
    setting: str = "classify"
    """What an example of it is; see ``w2s_core.settings``."""
    n_classes: int | None = 2
    """None: as many as the source has names for."""
    form: str | None = None
    """The normal form of answers that are texts; see ``w2s_core.data.forms``. None: examples are of classes."""
    columns: Mapping[str, Kind]
    """The columns that ``format`` reads, with the kind of their values. Together they identify a row."""
    format: Callable[[RawRow, Draw], Sequence[Formatted]]
    max_chars: int
    """Limit on what a model reads of an example at once (of text: passage and prompt), unless the grid sets another."""
    licence: str = "not stated"
    sizes: tuple[int, int] | None = None
    """Train and test examples after balancing, as published by others at limits of 11,000 and 5,000."""
    unverified: str = ""
    """What of this entry has not been seen at its source."""

    @property
    def shows(self) -> str:
        """Text or images: what models have to read."""
        return "images" if any(isinstance(kind, EncodedImage) for kind in self.columns.values()) else "text"

    @property
    def leaves_names_to_source(self) -> bool:
        """Whether what its classes are called, and in which order, is up to the source."""
        labels = [kind for kind in self.columns.values() if isinstance(kind, Label)]
        # Of a question with several answers, a label is the place of the right one.
        return self.n_classes != 2 and any(not label.names and not label.is_binary for label in labels)

    @property
    def asked(self) -> dict[str, str]:
        """What every stage of it knows, as parameters: of which setting its rows are, and the form of their answers."""
        return {"setting": self.setting, **({"form": self.form} if self.form else {})}


DATASETS: Registry[Dataset] = Registry(
    "dataset",
    param="dataset",
    modules=(
        "w2s_core.data.nlp.texts",
        "w2s_core.data.nlp.pairs",
        "w2s_core.data.nlp.choices",
        "w2s_core.data.preferences",
        "w2s_core.data.pictures",
        "w2s_core.data.arithmetic",
        "w2s_core.data.moves",
    ),
)


def names_of(name: str) -> list[str]:
    """What else a dataset is called, after its name here: its ids on the Hub, and the last part of these."""
    dataset = DATASETS.get(name)
    ids = [word for id in (dataset.hub_id, *dataset.hub_aliases) for word in (id, id.rpartition("/")[2])]
    part = dataset.hub_config or dataset.hub_dir
    if part is None:
        return list(dict.fromkeys([name, *ids]))
    return list(dict.fromkeys([name, *(f"{id}/{part}" for id in ids), *ids]))


def called(name: str) -> str:
    """The name here of what may be called as on the Hub; an unknown name as it is.

    Raises:
        UnknownNameError: several datasets are called so.
    """
    if name in DATASETS.names():
        return name
    found = [known for known in DATASETS if name in names_of(known)]
    if len(found) > 1:
        raise UnknownNameError(f"{name!r} is several datasets here; name one of {', '.join(found)}")
    return found[0] if found else name


def clean(text: str) -> str:
    """``text`` with every run of white space made one space: stray spaces can give a label away."""
    return " ".join(text.split())


def multiple_choice(
    question: str, right: str, wrong: Sequence[str], draw: Draw, *, passage: str = "", group: str = ""
) -> list[Example]:
    """A question as two examples of one group: its right answer, and a wrong one drawn at random.

    Args:
        question: the question; it stands in the prompt.
        right: the right answer.
        wrong: the others. Those that read like the right one are left out.
        draw: draws one of the wrong answers.
        passage: what the question is about.
        group: what related questions share; by default the passage, or the question where there is none.

    Returns:
        Two examples, or none if no answer is wrong.
    """
    right = clean(right)
    others = [text for text in map(clean, wrong) if text.casefold() != right.casefold()]
    if not others:
        return []

    def example(answer: str, gt_label: int) -> Example:
        prompt = f"Q: {clean(question)}\nA: {answer}"
        return Example(passage, prompt, gt_label, group or passage or question, candidate=answer)

    return [example(right, 1), example(others[draw(len(others))], 0)]
