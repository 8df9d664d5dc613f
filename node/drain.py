"""A node that is to be emptied: the wish, kept in its data directory over restarts, and how far it has come.

A drained node says weight 0, so that other nodes are the replicas of all its slots; it takes no jobs, and hands
stewardship and copies over as it would to any replica that is preferred to it. Who told it may die: it knows itself,
and gossip tells all others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog import get_logger

from node.api.problems import refuse
from node.core import Core
from node.security.durable import replace

log = get_logger(__name__)

DRAIN_FILE = "drain"
ALONE = "no other live node keeps anything; start another one, or take back the drain of one"


class Drain:
    """`changed()`: called when the wish has changed, to tell the others.

    Raises Refused: 409 for what cannot be, 507 for what the disk does not take.
    """

    def __init__(self, folder: Path, core: Core, changed: Callable[[], None]) -> None:
        self._path = folder / DRAIN_FILE
        self._core, self._changed = core, changed
        self._done = False
        if self.wanted:
            log.warning(
                "this node is drained since an earlier start; `collect drain NODE --cancel` takes that back"
            )
            self._apply(wanted=True)

    @property
    def wanted(self) -> bool:
        return self._path.exists()

    def order(self, *, wanted: bool) -> None:
        """The wish is durable before anything is done about it."""
        if wanted == self.wanted:
            return
        if wanted and self._alone():
            raise refuse(409, "nobody-else", f"this node cannot be drained: {ALONE}")
        try:
            if wanted:
                replace(self._path, b"1\n")
            else:
                self._path.unlink()
        except OSError as error:
            raise refuse(
                507,
                "not-durable",
                f"the wish cannot be put on the node's disk ({error.strerror}), nothing was changed: free some space "
                "there, or stop the node and let others take over with `collect drain NODE --forget`",
            ) from None
        log.info("this node is drained" if wanted else "the drain of this node is taken back")
        self._apply(wanted=wanted)
        self._changed()

    def _apply(self, *, wanted: bool) -> None:
        self._core.custody.draining = wanted
        self._core.executor.pause(paused=wanted)
        self._done = False

    def _alone(self) -> bool:
        """Nobody is there to take anything."""
        members = self._core.ownership.members
        return not any(members[node].meta.weight for node in self._core.ownership.live() - {self._core.me})

    def progress(self) -> dict[str, Any] | None:
        """As `node.schema.Drain`; None while nothing is wished."""
        if not self._core.custody.draining:
            return None
        core, unsafe = self._core, self._core.custody.unsafe()
        left = core.me not in {candidate.id for candidate in core.ownership.placement.candidates}
        found: dict[str, Any] = {
            "total": sum(bool(ledger.heads) for ledger in core.replicator.ledgers.values()),
            "slots": len(core.table.mine),
            "copies": len(unsafe)
            if left
            else sum(bool(led.heads) for led in core.replicator.ledgers.values()),
            "running": core.executor.busy,
            "voting": core.leases.counted,
            "waits_for": self._waits_for(unsafe),
            "problem": ALONE if self._alone() else None,
        }
        found["done"] = left and not any(found[rest] for rest in ("slots", "copies", "running", "voting"))
        return found

    def _waits_for(self, unsafe: list[int]) -> list[str]:
        """Dead replicas that the missing copies would be on."""
        core = self._core
        members, live = core.ownership.members, core.ownership.live()
        owners = {node for slot in unsafe for node in core.ownership.placement.owners(slot)}
        return sorted(members[node].meta.name for node in owners if node not in live)

    def note(self) -> None:
        """Say once in the log when everything is elsewhere."""
        progress = self.progress()
        done = progress is not None and bool(progress["done"])
        if done != self._done:
            self._done = done
            log.info(
                "drained: everything is elsewhere, this node may be stopped" if done else "drained no more"
            )
