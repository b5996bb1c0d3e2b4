"""The base of all configuration, and what a model and the offline world are.

Data only. What is made of ``Frozen``, here or elsewhere, never counts in a code fingerprint: whatever matters of it is
in the parameters of a stage. The configuration of a whole grid is ``flows.plan.grid.GridConfig``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A name that is safe in file names, run names and SQL."""


LARGEST = 2**53 - 1
"""The largest whole number that JSON, a form in a browser and every library here take alike."""


class Frozen(BaseModel):
    """Base of all configuration: immutable, unknown fields refused, and so are numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cited: ClassVar[str] = ""
    """Where a method, or a part of one, was published; empty: nowhere that we know of."""

    @field_validator("*")
    @classmethod
    def _not_too_large(cls, value: Any) -> Any:
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and abs(number) > LARGEST for number in numbers):
            raise ValueError(f"a number must be at most {LARGEST}")
        return value


Layer = Literal["last", "middle"] | Annotated[int, Field(ge=1)]
"""A layer of a model, by number from 1; the middle one is that after half of them, rounded down."""

LAST_LAYER: Layer = "last"


class WorldConfig(Frozen):
    """The generated world of the offline ladder and datasets; set once, see ``bench/RESULTS.md``."""

    n_words: int = Field(1_200, ge=64, description="Content words.")
    n_classes: int = Field(4, ge=2, multiple_of=2, description="Latent classes of words, half of them of each tone.")
    zipf: float = Field(0.9, ge=0.0, description="Exponent of the word frequencies inside a class.")
    noise: float = Field(0.1, ge=0.0, lt=1.0, description="Share of words drawn from any class.")
    seed: int = Field(0, ge=0, description="Which world.")


GENERATED_CLASSES = 5
"""Of generated rows of a dataset that leaves the number of its classes to its source."""


class SizeConfig(Frozen):
    """Architecture of a model without pretrained weights."""

    n_layers: int = Field(ge=1)
    width: int = Field(ge=2, description="Hidden size.")
    n_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _divides(self) -> SizeConfig:
        if self.width % self.n_heads:
            raise ValueError(f"width {self.width} is not a multiple of n_heads {self.n_heads}")
        return self


class PretrainConfig(Frozen):
    """How a model of an offline ladder is pretrained on a generated corpus."""

    corpus: Literal["words", "positions"] = Field(
        "words", description="Texts of the grid's world, or positions of generated chess games with a move."
    )
    size: SizeConfig
    n_words: int | None = Field(None, ge=2, description="The most frequent words of the world, which it knows; or all.")
    n_tokens: int = Field(1_000_000, ge=1_000, description="Corpus tokens, seen once.")
    lr: float = Field(4e-3, gt=0)
    batch_size: int = Field(8, ge=1, description="Sequences per step.")
    sequence_length: int = Field(64, ge=8, description="Tokens per sequence.")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _knows_words(self) -> PretrainConfig:
        if self.corpus != "words" and self.n_words is not None:
            raise ValueError(f"n_words {self.n_words} is for the corpus words; {self.corpus} has none, leave it out")
        return self

    @property
    def n_steps(self) -> int:
        """As many whole batches as ``n_tokens`` make, one at least."""
        return max(1, self.n_tokens // (self.batch_size * self.sequence_length))


class ImagePretrainConfig(Frozen):
    """A small ConvNeXt of the offline ladder: which generated images belong together, learned without labels."""

    widths: tuple[Annotated[int, Field(ge=4)], ...] = Field(min_length=1, max_length=3, description="Of its stages.")
    depths: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1, max_length=3, description="Their blocks.")
    n_steps: int = Field(0, ge=0, description="Of pretraining; none leaves it as it starts.")
    batch_size: int = Field(64, ge=2, description="Pairs of images per step.")
    lr: float = Field(3e-3, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _of_stages(self) -> ImagePretrainConfig:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"widths and depths are of stages, and must be as many, not {len(self.widths)} and "
                             f"{len(self.depths)}")  # fmt: skip
        return self


class LoraConfig(Frozen):
    """Low-rank adapters on every linear layer of the backbone, instead of full finetuning."""

    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class AdaptConfig(Frozen):
    """Generative finetuning: a language model learns the texts of a task, without labels."""

    cited: ClassVar[str] = "Burns et al. 2023, section 5.2.2"

    epochs: int = Field(1, ge=1)
    batch_size: int = Field(8, ge=1, description="Sequences per optimizer step.")
    sequence_length: int = Field(128, ge=2, description="Tokens of a sequence, into which the texts are laid.")
    lr_scale: float = Field(1.0, gt=0, description="Times the model's own learning rate.")
    loss_on: Literal["all", "answer"] = Field(
        "all", description="All tokens, or those of the answer that a prompt ends with; of other prompts, all of these."
    )


class ModelConfig(Frozen):
    """One model of a ladder and how it is finetuned."""

    name: Name = Field(description="What tables call it.")
    path: str = Field("", description="Hub id, or path of a local folder; empty for an offline model.")
    revision: str = Field("main", description="Hub revision; resolved to a commit and recorded.")
    init: Literal["pretrained", "random"] = Field(
        "pretrained", description="'random' builds the architecture of `path` at `size`, untrained."
    )
    n_layers: int | None = Field(None, ge=1, description="Keep only the first layers.")
    size: SizeConfig | None = Field(None, description="Architecture, for init = 'random'.")
    pretrain: PretrainConfig | None = Field(None, description="Makes it a model of the offline ladder.")
    pretrain_images: ImagePretrainConfig | None = Field(None, description="Makes it one that reads images.")
    lr: float = Field(1e-5, gt=0, description="Peak learning rate, for the grid's batch size.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 is autocast around fp32 master weights.")
    max_length: int = Field(512, ge=8, description="Tokens; longer passages lose their beginning.")
    pooling: Literal["auto", "last", "mean", "first"] = Field(
        "auto", description="Token(s) that the head reads; auto: last for causal models, else mean."
    )
    head: Literal["zeros", "small", "unembed_rows", "lm_head_tokens"] = Field(
        "zeros",
        description="Classification head: starts at zeros, small random values, or as the rows of the LM head for the "
        'tokens "0" and "1" (unembed_rows); or is the whole LM head, read at these two tokens (lm_head_tokens).',
    )
    lora: LoraConfig | None = None
    devices: int = Field(
        1,
        ge=1,
        description="GPUs (or processes, on a CPU) that finetune the model together. In no key: results differ by "
        "rounding, and where units are dropped, by which.",
    )

    @property
    def reads(self) -> str | None:
        """What it reads, text or images, where the configuration says it."""
        if self.pretrain_images is not None:
            return "images"
        return None if self.pretrain is None else "text"

    @property
    def is_offline(self) -> bool:
        """Whether it is made here."""
        return self.pretrain is not None or self.pretrain_images is not None

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.pretrain is not None and self.pretrain_images is not None:
            raise ValueError(f"model {self.name!r} has pretrain, so it takes no pretrain_images")
        if not self.is_offline and not self.path:
            raise ValueError(f"model {self.name!r} needs a path: a Hub id or a local folder")
        if self.is_offline and (self.path or self.size or self.init == "random"):
            raise ValueError(f"model {self.name!r} has pretrain, so it takes no path, size or init")
        if (self.init == "random") != (self.size is not None):
            raise ValueError(f"model {self.name!r}: init = 'random' and size go together")
        if self.init == "random" and self.head not in ("zeros", "small"):
            raise ValueError(f"model {self.name!r} starts at random, so it has no LM head; set head to zeros or small")
        return self
