"""Whether this node should own slots: one that answers pings but cannot work gives them up by itself.

Each look hands in what is wrong now. A cause counts once it has lasted as long as it says; the node is fit again when
nothing has been wrong for `CLEAR`. Without a disk a node is no use to anybody. What is only slow (its loop, its
replication) makes it step back only while most other nodes are fit: where all are slow, the work stays where it is.
"""

from collections.abc import Iterable
from typing import NamedTuple

CLEAR = 2.0
"""Seconds without any cause until the node takes slots again; shorter moves them to and fro under a fault that comes
and goes.
"""


GOSSIP_WITHIN = 6.0
"""Seconds; in the slowest profile a member is probed every five."""
WORK_WITHIN = 12.0
"""Seconds; each member tells each other its facts every five. More than both together, so that in a cut neither is."""


class Cause(NamedTuple):
    """`lasts`: seconds until it counts. `fatal`: it counts whatever the others' state is."""

    kind: str
    text: str
    lasts: float
    fatal: bool


class Fitness:
    """`reason`: why the node is not fit, "" while it is."""

    def __init__(self) -> None:
        self.reason = ""
        self._since: dict[str, float] = {}
        self._wrong_at = 0.0

    def look(self, causes: Iterable[Cause], now: float, *, others_fit: bool) -> str:
        found = {cause.kind: cause for cause in causes if cause.fatal or others_fit}
        self._since = {kind: self._since.get(kind, now) for kind in found}
        counting = [cause for cause in found.values() if now - self._since[cause.kind] >= cause.lasts]
        if counting:
            self.reason = max(counting, key=lambda cause: cause.fatal).text
        if found:
            self._wrong_at = now
        elif not others_fit or now - self._wrong_at >= CLEAR:
            self.reason = ""
        return self.reason


def deaf(now: float, *, gossip: float, work: float) -> bool:
    """Whether members reach this node for gossip, but none for work, on the port beside it.

    gossip, work: when something last came in. Where neither is heard the node is cut off, which gossip finds out.
    """
    return now - gossip < GOSSIP_WITHIN and now - work > WORK_WITHIN


class Lateness:
    """How late the loop was at its worst within the last `WINDOW` seconds, from looks that should be `pace` apart."""

    WINDOW = 2.0

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._last: float | None = None
        self._worst: tuple[float, float] = (0.0, 0.0)

    def look(self, now: float) -> float:
        late = 0.0 if self._last is None else max(0.0, now - self._last - self._pace)
        self._last = now
        at, worst = self._worst
        if late >= worst or now - at > self.WINDOW:
            self._worst = (now, late)
        return self._worst[1]


class Pulse:
    """The heartbeat of the main loop, felt by the membership thread: it speaks for a loop that stands still."""

    STILL = 5.0
    """Seconds without a beat until the node is said not to be ready; shorter judges long turns of a busy loop."""

    def __init__(self) -> None:
        self._beat: float | None = None
        self._spoken = False

    def beat(self, now: float) -> bool:
        """Whether somebody spoke for us since the last beat."""
        self._beat, spoken, self._spoken = now, self._spoken, False
        return spoken

    def still(self, now: float) -> bool:
        """Whether to speak for the loop now."""
        if self._spoken or self._beat is None or now - self._beat < self.STILL:
            return False
        self._spoken = True
        return True
