"""What a user can ask for: one frozen model that is the TOML file, the flow's parameter and the form in the UI.

Data only. Names are checked against the registries in ``flows.plan``, which also turns a grid into nodes. Classes in
this module never count in a code fingerprint: whatever matters of them is in the parameters of a stage.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A name that is safe in file names, run names and SQL."""


def text_or_table(value: Any) -> str:
    """Which form of a field was meant, so that only that form reports errors; tags in ``<>`` are no field names."""
    return "<text>" if isinstance(value, str) else "<table>"


class Frozen(BaseModel):
    """Base of all configuration: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class WorldConfig(Frozen):
    """The generated world of the offline ladder and datasets; set once, see ``bench/RESULTS.md``."""

    n_words: int = Field(1_200, ge=64, description="Content words.")
    n_classes: int = Field(4, ge=2, multiple_of=2, description="Latent classes of words, half of them of each tone.")
    zipf: float = Field(0.9, ge=0.0, description="Exponent of the word frequencies inside a class.")
    noise: float = Field(0.1, ge=0.0, lt=1.0, description="Share of words drawn from any class.")
    seed: int = Field(0, ge=0, description="Which world.")


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
    """How a model of the offline ladder is pretrained on the corpus of the grid's world."""

    size: SizeConfig
    n_words: int | None = Field(None, ge=2, description="The most frequent words of the world, which it knows; or all.")
    n_tokens: int = Field(1_000_000, ge=1_000, description="Corpus tokens, seen once.")
    lr: float = Field(4e-3, gt=0)
    batch_size: int = Field(8, ge=1, description="Sequences per step.")
    sequence_length: int = Field(64, ge=8, description="Tokens per sequence.")
    seed: int = Field(0, ge=0)


class LoraConfig(Frozen):
    """Low-rank adapters on every linear layer of the backbone, instead of full finetuning."""

    rank: int = Field(8, ge=1)
    alpha: float = Field(16.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


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

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.pretrain is None and not self.path:
            raise ValueError(f"model {self.name!r} needs a path: a Hub id or a local folder")
        if self.pretrain is not None and (self.path or self.size or self.init == "random"):
            raise ValueError(f"model {self.name!r} has pretrain, so it takes no path, size or init")
        if (self.init == "random") != (self.size is not None):
            raise ValueError(f"model {self.name!r}: init = 'random' and size go together")
        if self.init == "random" and self.head not in ("zeros", "small"):
            raise ValueError(f"model {self.name!r} starts at random, so it has no LM head; set head to zeros or small")
        return self


class XentConfig(Frozen):
    """Naive finetuning: cross-entropy against the weak labels."""

    loss: Literal["xent"] = "xent"


class LogconfConfig(Frozen):
    """The auxiliary confidence loss (Burns et al. 2023, section 4.3 and appendix A.4)."""

    loss: Literal["logconf"] = "logconf"
    alpha_max: float = Field(0.5, ge=0, le=1, description="Final weight of the student's own hardened label.")
    warmup_frac: float = Field(0.2, ge=0, le=1, description="Share of steps over which the weight rises from 0.")
    threshold: Literal["half", "match_prior"] = Field(
        "half", description="Share of a batch hardened to class 1: a half, or the mean weak label."
    )


LossConfig = Annotated[XentConfig | LogconfConfig, Field(discriminator="loss")]


class MethodConfig(Frozen):
    """A way to train a student on weak labels."""

    name: Name = Field(description="What tables call it.")
    loss: LossConfig = XentConfig()


class DataConfig(Frozen):
    """How many rows, and how they are chosen. Everything here decides which rows exist, for every model alike."""

    n_train: int = Field(4_000, ge=4, description="Rows of both halves together.")
    weak_fraction: float = Field(0.5, gt=0, lt=1, description="Share of them in the supervisor's half.")
    n_validation: int = Field(500, ge=2)
    n_test: int = Field(1_000, ge=2)
    balance_test: bool = Field(True, description="Drop test rows until both classes are equal.")
    max_chars: int | None = Field(None, ge=1, description="Drop longer rows; default: the dataset's limit.")
    allow_fewer: bool = Field(False, description="Take what there is where a dataset has fewer rows.")


class TrainingConfig(Frozen):
    """What supervisor, student and ceiling share; the learning rate is the model's."""

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(32, ge=1, description="Examples per optimizer step.")
    optimizer: Literal["adamw", "adafactor", "adamw8bit"] = Field(
        "adamw",
        description="adafactor and adamw8bit (which needs bitsandbytes) take less memory; adafactor has no betas.",
    )
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_frac: float = Field(0.0, ge=0, lt=1, description="Share of steps of linear warm-up.")
    weight_decay: float = Field(0.0, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    dropout: bool = Field(False, description="Keep the dropout of the pretrained model while training.")
    batching: Literal["bucketed", "shuffled"] = Field(
        "bucketed", description="Batches of similar length (in characters), or of any."
    )


class RuntimeConfig(Frozen):
    """How a grid is run. Nothing in here changes a result beyond rounding, and nothing in here is in a key."""

    workers: int | None = Field(None, ge=1, description="Stages at a time; default: one per core or GPU.")
    threads: int | None = Field(None, ge=1, description="CPU threads per stage; default: cores / workers.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runner: Literal["threads", "ray", "dask"] = Field(
        "threads",
        description="What executes stages: worker processes of this machine, or a Ray or Dask cluster, which deals "
        "out its GPUs; needs the extra of its name.",
    )
    cluster: str | None = Field(
        None,
        min_length=1,
        description="Address of the cluster, such as ray://HOST:10001 or tcp://HOST:8786; default: one on this "
        "machine, for as long as the grid runs.",
    )
    micro_tokens: int = Field(16_384, ge=256, description="Padded tokens per forward pass.")
    gradient_checkpointing: bool = Field(
        False, description="Compute layers twice instead of keeping their inner results: slower, less memory."
    )
    isolation: Literal["pool", "process"] = Field(
        "pool", description="'process' gives each training a process of its own; one on several devices has its own."
    )
    eval_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25, 0.5, 0.75), description="Shares of a training after which the curve gets validation accuracies."
    )
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="Also show curves there while they grow; each needs the package of its name."
    )

    @model_validator(mode="after")
    def _one_that_deals(self) -> RuntimeConfig:
        if self.cluster is not None and self.runner == "threads":
            raise ValueError("cluster is given, but runner is 'threads'; set runner to 'ray' or 'dask'")
        if self.cluster is not None and self.workers is not None:
            raise ValueError("cluster is given, and decides how many stages run at a time; leave workers out")
        return self


ModelChoice = Annotated[
    Annotated[Name, Tag("<text>")] | Annotated[ModelConfig, Tag("<table>")], Discriminator(text_or_table)
]
MethodChoice = Annotated[
    Annotated[Name, Tag("<text>")] | Annotated[MethodConfig, Tag("<table>")], Discriminator(text_or_table)
]
LadderChoice = Annotated[
    Annotated[Name, Tag("<text>")] | Annotated[tuple[ModelChoice, ...], Tag("<table>")], Discriminator(text_or_table)
]
PairChoice = Annotated[
    Annotated[Literal["all"], Tag("<text>")] | Annotated[tuple[tuple[Name, Name], ...], Tag("<table>")],
    Discriminator(text_or_table),
]


class GridConfig(Frozen):
    """A grid: datasets x pairs of a ladder x methods x seeds."""

    name: Name = Field("grid", description="Names the grid's file and its rows in the results.")
    datasets: tuple[Name, ...] = Field(min_length=1)
    source: str = Field("offline", description="'offline', 'hub', or a folder with `<dataset>/{train,test}.*`.")
    models: LadderChoice = Field(
        "offline",
        description="A ladder's name, or models from weakest to strongest: names or tables.",
    )
    pairs: PairChoice = Field("all", description="'all', or [weak, strong] by name; weak stands earlier in the ladder.")
    self_training: bool = Field(False, description="Also train each model on its own labels (no PGR).")
    methods: tuple[MethodChoice, ...] = Field(("xent", "logconf"), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1, description="Training seeds.")
    data_seed: int = Field(0, ge=0, description="Decides sampling and halves.")
    ceiling_half: Literal["transfer_train", "weak_train"] = Field(
        "transfer_train", description="Which half the ceiling trains on; the student's, by default."
    )
    world: WorldConfig = Field(WorldConfig(), description="Of offline datasets and models.")
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    audit: bool = Field(True, description="Also audit every dataset; changes no result.")
    retention: Literal["all", "supervisors", "none"] = Field(
        "all", description="Which trained weights stay in the store after a run."
    )
    runtime: RuntimeConfig = RuntimeConfig()
