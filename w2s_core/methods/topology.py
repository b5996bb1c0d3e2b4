"""The topological filter: rows stay whose labels hang together with most of their class (Wu et al. 2020, TopoFilter).

As the published code of EleutherAI/w2s has it, but for the classes, which keep their shares. Letters: N rows that are
fitted on, M that are asked about, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from w2s_core.methods.filters import Drop, without_lowest
from w2s_core.methods.neighbours import mean_of_nearest, nearest
from w2s_core.methods.treatments import TREATMENTS, OfFeatures, Treatment


class Topological(OfFeatures, Drop):
    """Without the rows that are not tied to most of their class by nearest rows, and those that differ most from these.

    More than ``drop`` go where the first are more: as large a share of each class as they are of all rows.
    """

    cited: ClassVar[str] = "TopoFilter, Wu et al. 2020; EleutherAI/w2s"

    kind: Literal["topological"] = "topological"
    k: int = Field(50, ge=1, description="Nearest rows to which a row is tied; it is not its own neighbour.")
    k_label: int = Field(50, ge=1, description="Nearest rows whose mean label a row is compared with.")


def tied(features: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """Which rows are in the largest strongly connected component of their class, [N] bool.

    Of the graph in which each row points to its ``k`` nearest others, the part whose rows are of one class. Of
    components of one size, that with the first row.

    Args:
        features: [N, D] float32.
        classes: [N].
        k: at least 1.
    """
    import networkx as nx  # which a plan, that only looks methods up, does not load

    near = nearest(features, features, k, are_same=True)
    found = np.zeros(len(features), bool)
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        graph = nx.DiGraph()
        graph.add_nodes_from(members.tolist())
        is_inside = classes[near[members]] == each
        graph.add_edges_from(
            zip(np.repeat(members, is_inside.sum(1)).tolist(), near[members][is_inside].tolist(), strict=True)
        )
        components: list[set[int]] = list(nx.strongly_connected_components(graph))
        largest = max(components, key=lambda rows: (len(rows), -min(rows)))
        found[list(largest)] = True
    return found


def guess(
    features: np.ndarray, probs: np.ndarray, asked: np.ndarray, params: Topological, *, are_same: bool
) -> np.ndarray:
    """The mean label of the nearest rows, [M, C] float64; of those that are fitted on and not tied, no class: zeros."""
    said = mean_of_nearest(features, probs, asked, params.k_label, are_same=are_same)
    if are_same:
        said[~tied(features, probs.argmax(1), params.k)] = 0
    return said


def topological(
    probs: np.ndarray, ids: Sequence[str], truth: np.ndarray | None, said: np.ndarray | None, params: Topological
) -> np.ndarray:
    """See ``Topological``."""
    assert said is not None
    is_loose = ~said.any(1)
    # No two labels differ by more than 2.
    worth = np.where(is_loose, -3, -np.abs(said - probs).sum(1))
    return without_lowest(worth, probs, ids, max(params.drop, float(is_loose.mean())))


TREATMENTS.register("topological", Treatment(None, Topological, keep=topological, guess=guess))
