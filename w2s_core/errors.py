"""What the science can refuse: data that cannot serve a request, and trainings that cannot go on.

Each message is one line for the person who wrote the grid: what, where, found, and what would be right.
"""


class DataError(ValueError):
    """A file, column, row or size that does not fit the grid."""


class TrainingError(RuntimeError):
    """A training that cannot go on, such as a loss that is not finite."""
