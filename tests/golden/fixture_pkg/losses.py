"""Entries of a registry, one of each kind."""

from functools import partial

from fixture_pkg.registry import Registry

LOSSES = Registry("loss", param="loss.name", modules=("fixture_pkg.losses",))


@LOSSES.register("squared")
def squared(found, wanted):
    """The square of the difference."""
    return (found - wanted) ** 2


def _power(found, wanted, exponent):
    return abs(found - wanted) ** exponent


LOSSES.register("cubed", partial(_power, exponent=3))
