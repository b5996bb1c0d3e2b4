"""What a user can ask for: one frozen model that is the TOML file, the flow's parameter and the form in the UI.

Data only. Losses, label treatments, learners and kinds of supervisors are those that the registries hold. Names are
checked in ``flows.plan.resolve``, and ``flows.plan.build`` turns a grid into nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from flows.plan.choices import LossChoice, any_of
from flows.plan.learners import LEARNERS, Finetune, Learn
from flows.plan.supervisors.supervisor import SUPERVISORS, Spec
from tasks.runtime import RuntimeConfig
from w2s_core.config import AdaptConfig, Frozen, ModelConfig, Name, WorldConfig
from w2s_core.methods.losses import Xent
from w2s_core.methods.stopping import FINAL, STOPS
from w2s_core.methods.treatments import TREATMENTS


def text_or_table(value: Any) -> str:
    """Which form of a field was meant, so that only that form reports errors; tags in ``<>`` are no field names."""
    return "<text>" if isinstance(value, str) else "<table>"


if TYPE_CHECKING:
    TreatmentChoice = Frozen
    StopChoice = Frozen
    LearnChoice = Learn
    SupervisorChoice = Spec
else:
    TreatmentChoice = any_of(TREATMENTS, "params", "kind")
    StopChoice = any_of(STOPS, "params", "rule")
    LearnChoice = any_of(LEARNERS, "spec", "kind")
    SupervisorChoice = any_of(SUPERVISORS, "spec", "kind")


class MethodConfig(Frozen):
    """A way to train a student on weak labels."""

    name: Name = Field(description="What tables call it.")
    labels: tuple[TreatmentChoice, ...] = Field((), description="What is done to the labels first, in this order.")
    loss: LossChoice = Xent()
    stop: StopChoice = Field(FINAL, description="Which weights are taken; rules share one training.")
    adapt: AdaptConfig | None = Field(
        None, description="First finetune the strong model on the task's texts, without labels."
    )
    learn: LearnChoice = Field(Finetune(), description="How the student learns from the labels.")

    @model_validator(mode="after")
    def _counts(self) -> MethodConfig:
        if not self.learn.trains and (self.loss != Xent() or self.stop != FINAL):
            raise ValueError(
                f"method {self.name!r}: its learn trains no model on the labels, so loss and stop say nothing; leave "
                "them out"
            )
        return self


class DataConfig(Frozen):
    """How many rows, and how they are chosen. Everything here decides which rows exist, for every model alike."""

    n_train: int = Field(4_000, ge=4, description="Rows of both halves together.")
    weak_fraction: float = Field(0.5, gt=0, lt=1, description="Share of them in the supervisor's half.")
    n_parts: int = Field(
        1,
        ge=1,
        le=100,
        description="Parts of the student's half: one for each model of a chain, the last for students and ceilings.",
    )
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
    lr_scale: float = Field(1.0, gt=0, description="Multiplies the learning rate of every model of the ladder.")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_frac: float = Field(0.0, ge=0, lt=1, description="Share of steps of linear warm-up.")
    weight_decay: float = Field(0.0, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)
    dropout: bool = Field(False, description="Keep the dropout of the pretrained model while training.")


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
    supervisors: tuple[SupervisorChoice, ...] = Field(
        (),
        description="Others than the models of the ladder; with pairs = 'all', of every model that can learn.",
    )
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
    salience: bool = Field(
        False,
        description="Also measure how much features of each student's model, untrained, know of the truth and of what "
        "its supervisor has wrong.",
    )
    audit: bool = Field(True, description="Also audit every dataset; changes no result.")
    retention: Literal["all", "supervisors", "none"] = Field(
        "all", description="Which trained weights stay in the store after a run."
    )
    runtime: RuntimeConfig = RuntimeConfig()
