"""What comes next: strict priority classes, then fair shares between tenants, then first come first served.

Fairness is by virtual time: a tenant's clock advances by the units it was given, and the tenant furthest
behind is
next; one that was idle starts at the time of the busiest laggard, so idleness saves nothing up.
"""

from collections import deque
from typing import Protocol

CLASSES = 10


class Item(Protocol):
    """Work that waits. It may be queued only once; a second push moves nothing. `solo`: which of a node's two
    credits it needs, the one of small jobs or the one of long ones.
    """

    queued: bool

    @property
    def tenant(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def solo(self) -> bool: ...


class _Class:
    """`queues`: a tenant's long items and its solo ones, each in order of arrival; one clock for both."""

    __slots__ = ("clocks", "queues")

    def __init__(self) -> None:
        self.queues: dict[str, tuple[deque[Item], deque[Item]]] = {}
        self.clocks: dict[str, float] = {}

    def queue(self, tenant: str, *, solo: bool) -> deque[Item]:
        found = self.queues.get(tenant)
        if found is None:
            found = self.queues[tenant] = deque(), deque()
            self.clocks[tenant] = min(self.clocks.values(), default=0.0)
        return found[solo]

    def head(self, *, solo: bool, other: bool) -> Item | None:
        """The first item of the tenant furthest behind; a long one before a solo one."""
        best: tuple[float, str] | None = None
        for tenant, (long, short) in list(self.queues.items()):
            if not long and not short:
                del self.queues[tenant], self.clocks[tenant]
            elif (other and long) or (solo and short):
                place = (self.clocks[tenant], tenant)
                best = place if best is None else min(best, place)
        if best is None:
            return None
        long, short = self.queues[best[1]]
        return long[0] if other and long else short[0]


class Backlog:
    """Items with work that could be leased; items that no node may take now are parked until `unpark`."""

    def __init__(self) -> None:
        self._classes = [_Class() for _ in range(CLASSES)]
        self._parked: list[Item] = []
        self._where: dict[int, tuple[int, bool]] = {}
        """id of a queued item -> its class and kind when it was pushed"""

    @property
    def waiting(self) -> bool:
        """Whether anything is queued and not parked."""
        return bool(self._where)

    def push(self, item: Item) -> None:
        if not item.queued:
            item.queued = True
            self._classes[item.priority].queue(item.tenant, solo=item.solo).append(item)
            self._where[id(item)] = item.priority, item.solo

    def next(self, *, solo: bool = True, other: bool = True) -> Item | None:
        """The item to serve, of the kinds that may be served; it stays at the head of its queue. An item whose
        priority or kind changed is moved first.
        """
        while (item := self._head(solo=solo, other=other)) is not None:
            if self._where[id(item)] == (item.priority, item.solo):
                return item
            self.done(item)
            self.push(item)
        return None

    def _head(self, *, solo: bool, other: bool) -> Item | None:
        for level in reversed(self._classes):
            if level.queues and (item := level.head(solo=solo, other=other)) is not None:
                return item
        return None

    def remove(self, item: Item) -> None:
        """Take the item out, wherever it waits; push it again to queue it by its priority of now."""
        if not item.queued:
            return
        where = self._where.pop(id(item), None)
        if where is not None:
            self._queue(item, where).remove(item)
        else:
            self._parked.remove(item)
        item.queued = False

    def charge(self, item: Item, units: int) -> None:
        """The item was given units: its tenant's clock advances."""
        self._classes[self._where[id(item)][0]].clocks[item.tenant] += units

    def done(self, item: Item) -> None:
        """Nothing more to lease of the item at the head of its queue now."""
        self._take(item)
        item.queued = False

    def park(self, item: Item) -> None:
        """No node can take it now; it comes back at `unpark`."""
        self._take(item)
        self._parked.append(item)

    def _take(self, item: Item) -> None:
        taken = self._queue(item, self._where.pop(id(item))).popleft()
        assert taken is item

    def _queue(self, item: Item, where: tuple[int, bool]) -> deque[Item]:
        return self._classes[where[0]].queue(item.tenant, solo=where[1])

    def unpark(self) -> None:
        parked, self._parked = self._parked, []
        for item in parked:
            item.queued = False
            self.push(item)
