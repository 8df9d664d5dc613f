"""Which news go into the next packet: those sent least often
first, then the longest that fits (memberlist, queue.go).
"""

from dataclasses import dataclass

from gossip.identity import NodeId

LEAST_NEWS = 20
"""No message about a member is shorter, in bytes; below this much room there is no need to look."""


@dataclass(slots=True)
class News:
    sent: int
    order: int
    encoded: bytes

    @property
    def urgency(self) -> tuple[int, int, int]:
        return self.sent, -len(self.encoded), -self.order


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

    def put(self, about: NodeId, encoded: bytes) -> None:
        self._order += 1
        self._news[about] = News(0, self._order, encoded)

    def drop(self, about: NodeId) -> None:
        self._news.pop(about, None)

    def clear(self) -> None:
        self._news.clear()

    def take(self, room: int, limit: int) -> list[bytes]:
        """Messages of at most `room` bytes together. What has now been sent `limit` times waits no longer."""
        if not self._news:
            return []
        taken = []
        for about, news in sorted(self._news.items(), key=lambda item: item[1].urgency):
            if room < LEAST_NEWS:
                break
            if len(news.encoded) > room:
                continue
            room -= len(news.encoded)
            taken.append(news.encoded)
            news.sent += 1
            if news.sent >= limit:
                del self._news[about]
        return taken
