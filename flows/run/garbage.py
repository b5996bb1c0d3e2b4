"""What nobody needs any more, in the store and in the home: for ``w2s store gc`` and the maintenance flow."""

from __future__ import annotations

from artifacts.store.contract import Removed, Store
from artifacts.store.grids import KEPT_DAYS, Grids
from flows.home import Home
from tasks.workers.checkpoints import sweep


def collect_garbage(home: Home, store: Store, *, dry_run: bool, keep_replaced: float = KEPT_DAYS) -> list[Removed]:
    """Remove artifacts that no grid needs, and checkpoints that nobody will go on from.

    Args:
        home: the project.
        store: its store.
        dry_run: only say what would go.
        keep_replaced: days for which earlier definitions of grids stay.
    """
    grids = Grids(store)
    expired = grids.expired(keep_replaced)
    if not dry_run:
        for name in expired:
            grids.drop(name)
    removed = [Removed(f"grid {name}, replaced more than {keep_replaced:g} days ago", 0) for name in expired]
    removed += store.gc(grids.reach(without=expired), dry_run=dry_run)
    return removed + sweep(
        home.root,
        nodes=grids.nodes(without=expired),
        running=lambda: {claim.key for claim in store.running()},
        dry_run=dry_run,
    )
