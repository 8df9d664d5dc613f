"""Which message arrives, when, and how often: a seeded network of named endpoints and opaque payloads.

Each directed link has its own delays, loss, duplication and reordering; any pair can be cut in one direction.
Every decision is drawn from one generator; `logged`, it is recorded in a running hash: the same seed gives the same
log.
"""

import hashlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tests.sim.clock import Clock

Deliver = Callable[[str, bytes], None]
"""Called with the source and the payload when a message arrives."""


FOLD = 4096
"""Events that are hashed at once."""


@dataclass(frozen=True, slots=True)
class Link:
    """delay: uniform between two bounds, seconds. loss, duplication, reorder: probabilities of each message;
    a reordered one is held back by up to `hold` seconds more. fifo: any other never passes an earlier one."""

    delay: tuple[float, float] = (0.0005, 0.002)
    loss: float = 0.0
    duplication: float = 0.0
    reorder: float = 0.0
    hold: float = 0.05
    fifo: bool = False


class Network:
    """kinds: how many messages were sent, delivered, lost, cut (by a partition) or came to nobody."""

    def __init__(
        self, clock: Clock, rng: random.Random, link: Link | None = None, *, logged: bool = False
    ) -> None:
        self.logged = logged
        self._clock = clock
        self._rng = rng
        self._default = link or Link()
        self._links: dict[tuple[str, str], Link] = {}
        self._last: dict[tuple[str, str], float] = {}
        self._cuts: Counter[tuple[str, str]] = Counter()
        self._heals = 0
        self._endpoints: dict[str, Deliver] = {}
        self._events: list[tuple[float, str, str, str]] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self.kinds: Counter[str] = Counter()
        self.sent_by: Counter[str] = Counter()
        self.limit = sys.maxsize
        self.inspect: Callable[[bytes], None] = lambda _payload: None
        """Shown each payload that is sent."""

    @property
    def names(self) -> list[str]:
        return sorted(self._endpoints)

    def register(self, name: str, deliver: Deliver) -> None:
        self._endpoints[name] = deliver

    def unregister(self, name: str) -> None:
        """What is under way to it gets lost, unless the name is registered again before it arrives."""
        self._endpoints.pop(name, None)

    def digest(self) -> str:
        """Of what became of all messages so far: (time, source, destination, kind)."""
        assert self.logged
        self._fold()
        return self._hash.hexdigest()

    def send(self, source: str, destination: str, payload: bytes) -> None:
        self.inspect(payload)
        self.kinds["sent"] += 1
        self.sent_by[source] += 1
        assert self.kinds["sent"] <= self.limit, f"I18: {self.limit} messages have been sent"
        link = self._links.get((source, destination), self._default)
        if self._cuts and not self.passes(source, destination):
            self._note("cut", source, destination)
            return
        if link.loss and self._rng.random() < link.loss:
            self._note("lost", source, destination)
            return
        doubled = link.duplication > 0 and self._rng.random() < link.duplication
        if doubled:
            self._note("duplicated", source, destination)
        for _ in range(1 + doubled):
            at = self._arrival(link, source, destination)
            self._clock.schedule(at, lambda: self._arrive(source, destination, payload))

    def shape(self, link: Link, *, sources: Iterable[str] = (), destinations: Iterable[str] = ()) -> None:
        """Gives the links from each source to each destination this character; all, if none is named."""
        sources, destinations = list(sources), list(destinations)
        if not sources and not destinations:
            self._default = link
            self._links.clear()
            return
        for source in sources or self.names:
            for destination in destinations or self.names:
                self._links[source, destination] = link

    def lose(self, loss: float) -> None:
        """Every link loses this share from now on."""
        self.shape(replace(self._default, loss=loss))

    def cut(self, source: str, destination: str) -> None:
        """One way. Cuts add up: each is taken back by a `join`, all by `heal`."""
        self._cuts[source, destination] += 1

    def join(self, source: str, destination: str) -> None:
        left = self._cuts.pop((source, destination), 0) - 1
        if left > 0:
            self._cuts[source, destination] = left

    def split(self, *groups: Sequence[str]) -> None:
        """No message passes between the groups; all names that ever talk must be in one."""
        for pair in _across(groups):
            self.cut(*pair)

    def isolate(self, name: str, others: Iterable[str]) -> None:
        self.split([name], [other for other in others if other != name])

    def bridge(self, left: Sequence[str], middle: str, right: Sequence[str]) -> None:
        """The sides hear the one in the middle, but not each other."""
        assert middle not in left
        assert middle not in right
        self.split(left, right)

    def flap(self, groups: Sequence[Sequence[str]], *, period: float, until: float) -> None:
        """Split for half a period, whole for the other half, until then or until `heal`; whole in the end."""
        heals = self._heals

        def turn(split: bool) -> None:
            if self._heals != heals:
                return
            for pair in _across(groups):
                (self.cut if split else self.join)(*pair)
            if not split and self._clock.now >= until:
                return
            self._clock.after(period / 2, lambda: turn(not split))

        turn(split=True)

    def heal(self) -> None:
        """Takes all cuts back and ends all flapping; links keep their character."""
        self._heals += 1
        self._cuts.clear()

    def passes(self, source: str, destination: str) -> bool:
        return (source, destination) not in self._cuts

    def _arrival(self, link: Link, source: str, destination: str) -> float:
        at = self._clock.now + self._rng.uniform(*link.delay)
        if link.reorder and self._rng.random() < link.reorder:
            return at + self._rng.random() * link.hold
        if link.fifo:
            at = self._last[source, destination] = max(at, self._last.get((source, destination), 0.0))
        return at

    def _arrive(self, source: str, destination: str, payload: bytes) -> None:
        deliver = self._endpoints.get(destination)
        if self._cuts and not self.passes(source, destination):
            self._note("cut", source, destination)
        elif deliver is None:
            self._note("nobody", source, destination)
        else:
            self._note("delivered", source, destination)
            deliver(source, payload)

    def _note(self, kind: str, source: str, destination: str) -> None:
        self.kinds[kind] += 1
        if not self.logged:
            return
        self._events.append((self._clock.now, source, destination, kind))
        if len(self._events) >= FOLD:
            self._fold()

    def _fold(self) -> None:
        self._hash.update(repr(self._events).encode())
        self._events.clear()


def _across(groups: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    return [
        (one, other)
        for number, group in enumerate(groups)
        for one in group
        for position, others in enumerate(groups)
        if position != number
        for other in others
    ]
