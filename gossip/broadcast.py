"""Which news go into the next packet: those sent least often
first, then the longest that fits (memberlist, queue.go).
"""

from dataclasses import dataclass
from operator import attrgetter

from gossip.identity import NodeId

LEAST_NEWS = 20
"""No message about a member is shorter, in bytes; below this much room there is no need to look."""


@dataclass(slots=True)
class News:
    """rank: how often it was sent, its length and its age, the last two negative; the least goes first.

    It is kept, not computed: while halves of a mesh bury each other, sorting by it is most of the work.
    """

    about: NodeId
    encoded: bytes
    accuses: bool
    rank: tuple[int, int, int]

    def sent(self) -> int:
        """Counts one more time; how often it was sent now."""
        times, length, age = self.rank
        self.rank = times + 1, length, age
        return times + 1


_rank = attrgetter("rank")


class Broadcasts:
    """At most one message per member waits: a newer one
    replaces it, which also bounds the queue by the member list.
    """

    def __init__(self) -> None:
        self._news: dict[NodeId, News] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._news)

    def __contains__(self, about: NodeId) -> bool:
        return about in self._news

    def put(self, about: NodeId, encoded: bytes, *, accuses: bool = False) -> None:
        """`accuses`: it says that the member is suspect or dead."""
        self._order += 1
        self._news[about] = News(about, encoded, accuses, (0, -len(encoded), -self._order))

    def drop(self, about: NodeId) -> None:
        self._news.pop(about, None)

    def clear(self) -> None:
        self._news.clear()

    def take(self, room: int, limit: int, dead: NodeId | None = None) -> list[bytes]:
        """Messages of at most `room` bytes together; for one who is `dead`, accusations of itself alone. What has now
        been sent `limit` times waits no longer.
        """
        fit = [news for news in self._news.values() if dead is None or not news.accuses or news.about == dead]
        taken = []
        for news in sorted(fit, key=_rank):
            if room < LEAST_NEWS:
                break
            if len(news.encoded) > room:
                continue
            room -= len(news.encoded)
            taken.append(news.encoded)
            if news.sent() >= limit:
                del self._news[news.about]
        return taken
