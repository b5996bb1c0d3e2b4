"""Data: no part of any fingerprint."""


class TrainConfig:
    """How to train."""

    epochs: int = 2
