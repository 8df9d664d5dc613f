"""One write that waits for disks: which have it, and until when it waits. Pure."""

from gossip.identity import NodeId


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
