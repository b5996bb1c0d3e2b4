"""What nobody needs any more, in the store and in the home: for ``w2s store gc`` and the maintenance flow."""

from __future__ import annotations

from artifacts.grids import Grids
from artifacts.store import Removed, Store
from flows.home import Home
from tasks.checkpoints import sweep


def collect_garbage(home: Home, store: Store, *, dry_run: bool) -> list[Removed]:
    """Remove artifacts that no grid needs, and checkpoints that nobody will go on from.

    Args:
        home: the project.
        store: its store.
        dry_run: only say what would go.
    """
    grids = Grids(store)
    removed = store.gc(grids.reachable(), dry_run=dry_run)
    running = {claim.key for claim in store.running()}
    return removed + sweep(home.root, nodes=grids.nodes(), running=running, dry_run=dry_run)
