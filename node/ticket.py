"""One write that waits for disks: which have it, and until when it waits. Pure."""

from gossip.identity import NodeId

DISK_TIMEOUT = 9.0
"""Seconds more that a write waits for the own disk than for another: a busy disk is no failed one."""


class Ticket:
    """`peers`: what of the write each other replica has not yet stored, as (slot, sequence)."""

    __slots__ = ("deadline", "local", "peers", "want")

    def __init__(self, want: int, deadline: float) -> None:
        self.want = want
        self.local = False
        self.peers: dict[NodeId, set[tuple[int, int]]] = {}
        self.deadline = deadline

    @property
    def level(self) -> int:
        """The number of disks, 2 at most."""
        return (1 + any(not left for left in self.peers.values())) if self.local else 0

    def late(self, now: float, *, stalled: bool) -> bool:
        """Whether it waits no longer. `stalled`: the own disk cannot be written, so it would wait in vain."""
        return now >= self.deadline + (0.0 if self.local or stalled else DISK_TIMEOUT)
