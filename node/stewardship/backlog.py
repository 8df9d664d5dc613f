"""What comes next: strict priority classes, then fair shares between tenants, then first come first served.

Fairness is by virtual time: a tenant's clock advances by the units it was given, and the tenant furthest
behind is
next; one that was idle starts at the time of the busiest laggard, so idleness saves nothing up.
"""

from collections import deque
from typing import Protocol

CLASSES = 10


class Item(Protocol):
    """Work that waits. It may be queued only once; a second push moves nothing."""

    queued: bool

    @property
    def tenant(self) -> str: ...
    @property
    def priority(self) -> int: ...


class _Class:
    __slots__ = ("clocks", "tenants")

    def __init__(self) -> None:
        self.tenants: dict[str, deque[Item]] = {}
        self.clocks: dict[str, float] = {}

    def queue(self, tenant: str) -> deque[Item]:
        found = self.tenants.get(tenant)
        if found is None:
            found = self.tenants[tenant] = deque()
            self.clocks[tenant] = min((self.clocks[t] for t in self.tenants if t in self.clocks), default=0.0)
        return found


class Backlog:
    """Items with work that could be leased; items that cannot be served now are parked until `unpark`."""

    def __init__(self) -> None:
        self._classes = [_Class() for _ in range(CLASSES)]
        self._parked: list[Item] = []

    def push(self, item: Item) -> None:
        if not item.queued:
            item.queued = True
            self._classes[item.priority].queue(item.tenant).append(item)

    def next(self) -> Item | None:
        """The item to serve; it stays at the head of its queue. An item whose priority changed is moved
        first.
        """
        for level in range(CLASSES - 1, -1, -1):
            while (item := self._head(self._classes[level])) is not None:
                if item.priority == level:
                    return item
                self._classes[level].queue(item.tenant).popleft()
                item.queued = False
                self.push(item)
                if item.priority > level:
                    return self.next()
        return None

    @staticmethod
    def _head(level: _Class) -> Item | None:
        while level.tenants:
            tenant = min(level.tenants, key=lambda t: (level.clocks[t], t))
            if level.tenants[tenant]:
                return level.tenants[tenant][0]
            del level.tenants[tenant], level.clocks[tenant]
        return None

    def remove(self, item: Item) -> None:
        """Take the item out, wherever it waits; push it again to queue it by its priority of now."""
        if not item.queued:
            return
        for cls in self._classes:
            queue = cls.tenants.get(item.tenant)
            if queue is not None and item in queue:
                queue.remove(item)
        if item in self._parked:
            self._parked.remove(item)
        item.queued = False

    def charge(self, item: Item, units: int) -> None:
        """The item was given units: its tenant's clock advances."""
        self._classes[item.priority].clocks[item.tenant] += units

    def done(self, item: Item) -> None:
        """Nothing more to lease of the item at the head of its queue now."""
        self._take(item)
        item.queued = False

    def park(self, item: Item) -> None:
        """No node can take it now; it comes back at `unpark`."""
        self._take(item)
        self._parked.append(item)

    def _take(self, item: Item) -> None:
        taken = self._classes[item.priority].queue(item.tenant).popleft()
        assert taken is item

    def unpark(self) -> None:
        parked, self._parked = self._parked, []
        for item in parked:
            item.queued = False
            self.push(item)
