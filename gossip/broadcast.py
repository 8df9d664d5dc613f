"""Which news go into the next packet: those sent least often
first, then the longest that fits (memberlist, queue.go).
"""

from bisect import bisect_left, insort
from dataclasses import dataclass
from operator import attrgetter

from gossip.identity import NodeId

LEAST_NEWS = 20
"""No message about a member is shorter, in bytes; below this much room there is no need to look."""


@dataclass(slots=True)
class News:
    """rank: how often it was sent, its length and its age, the last two negative; the least goes first."""

    about: NodeId
    encoded: bytes
    accuses: bool
    rank: tuple[int, ...]


_rank = attrgetter("rank")


class Broadcasts:
    """At most one message per member waits: a newer one
    replaces it, which also bounds the queue by the member list.

    The queue is kept sorted by rank, of which no two are equal. Do not sort it for each packet: while halves of a
    mesh bury each other, or many are suspected under loss, that is most of the work.
    """

    def __init__(self) -> None:
        self._news: dict[NodeId, News] = {}
        self._queue: list[News] = []
        self._order = 0

    def __len__(self) -> int:
        return len(self._news)

    def __contains__(self, about: NodeId) -> bool:
        return about in self._news

    def put(self, about: NodeId, encoded: bytes, *, accuses: bool = False) -> None:
        """`accuses`: it says that the member is suspect or dead."""
        self.drop(about)
        self._order += 1
        self._enter(News(about, encoded, accuses, (0, -len(encoded), -self._order)))

    def drop(self, about: NodeId) -> None:
        news = self._news.pop(about, None)
        if news is not None:
            del self._queue[bisect_left(self._queue, news.rank, key=_rank)]

    def clear(self) -> None:
        self._news.clear()
        self._queue.clear()

    def take(self, room: int, limit: int, dead: NodeId | None = None) -> list[bytes]:
        """Messages of at most `room` bytes together; for one who is `dead`, accusations of itself alone. What has now
        been sent `limit` times waits no longer.
        """
        queue, place, taken = self._queue, 0, list[News]()
        while room >= LEAST_NEWS and place < len(queue):
            news = queue[place]
            if len(news.encoded) > room:
                place = bisect_left(queue, (news.rank[0], -room), key=_rank)
                continue
            if dead is None or not news.accuses or news.about == dead:
                room -= len(news.encoded)
                taken.append(news)
            place += 1
        for news in taken:
            self._sent(news, limit)
        return [news.encoded for news in taken]

    def _sent(self, news: News, limit: int) -> None:
        times, length, age = news.rank
        self.drop(news.about)
        if times + 1 < limit:
            news.rank = times + 1, length, age
            self._enter(news)

    def _enter(self, news: News) -> None:
        self._news[news.about] = news
        insort(self._queue, news, key=_rank)
