"""How a grid is run: workers, devices, memory; in no key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from w2s_core.config import Frozen


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
    requests: int = Field(8, ge=1, le=1_000, description="At a time, to the server of a debater.")
    request_timeout_s: float = Field(120.0, gt=0, description="Of one of them.")
    request_patience_s: float = Field(
        900.0, ge=0, description="For how long one is repeated, where the server is busy or gone."
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
