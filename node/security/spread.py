"""When roster messages are sent: news at once to all, offers at times to one, questions for a missing key."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence

from structlog import get_logger

from gossip.identity import Boot, NodeId
from gossip.versions import OLDEST, PROTOCOL
from node.security.exchange import SINCE, Exchange, ticket_news
from node.security.keyring import KeyRing
from node.security.roster import BadRoster, Entry, Roster
from node.security.tickets import Ticket, Tickets

ASK_PAUSE = 0.05  # seconds between two rounds of asking for keys we lack
ASK_ROUNDS = 40  # for one key; whoever is spoken of later is asked for again
ASK_FANOUT = 2

log = get_logger(__name__)

SendTo = Callable[[NodeId, bytes], None]


class Spread:
    """`send`: best effort; `live`: the other live members, sorted; `pause`: seconds between two offers.

    `protocol`: what a member speaks. `lives`: see `Exchange`. `on_learned`: called with the ids whose entries another
    member brought.
    """

    def __init__(
        self,
        roster: Roster,
        rng: random.Random,
        *,
        tickets: Tickets | None = None,
        ring: KeyRing | None = None,
        send: SendTo,
        live: Callable[[], Sequence[NodeId]],
        on_learned: Callable[[frozenset[NodeId]], None],
        pause: float,
        protocol: Callable[[NodeId], int] = lambda _: PROTOCOL,
        lives: Callable[[NodeId], Boot | None] = lambda _: None,
    ) -> None:
        self._roster = roster
        self._exchange = Exchange(roster, tickets, ring, lives)
        self._rng = rng
        self._send = send
        self._live = live
        self._protocol = protocol
        self._on_learned = on_learned
        self._pause = pause
        self._missing: dict[NodeId, int] = {}  # rounds left
        self._asking: asyncio.TimerHandle | None = None
        self._offering: asyncio.TimerHandle | None = None
        self.rejected = 0
        """messages that no correct member sends"""

    def start(self) -> None:
        self._offer_again()

    def close(self) -> None:
        for handle in (self._asking, self._offering):
            if handle is not None:
                handle.cancel()

    def received(self, sender: NodeId, payload: bytes) -> None:
        try:
            answers, changed = self._exchange.receive(payload, sender, time.time())
        except BadRoster as error:
            self.rejected += 1
            log.debug("roster message rejected", sender=sender, error=str(error))
            return
        for answer in answers:
            self._send(sender, answer)
        if changed:
            self._on_learned(changed)

    def met(self, entries: Iterable[Entry]) -> None:
        """A member's join socket has told us the roster. Raises BadRoster."""
        self._exchange.take(entries)

    def news(self, ids: Iterable[NodeId]) -> None:
        """Tell all live members of entries that changed here."""
        self._tell(self._exchange.news(ids))

    def ticket_news(self, *tickets: Ticket) -> None:
        """Tell all live members of a token that was made, used or withdrawn here."""
        self._tell(ticket_news(tickets), since=SINCE)

    def key_news(self) -> None:
        """Tell all live members the key that counts now."""
        self._tell(self._exchange.key_news(), since=SINCE)

    def _tell(self, messages: Iterable[bytes], *, since: int = OLDEST) -> None:
        told = [node for node in self._live() if self._protocol(node) >= since]
        for message in messages:
            for node in told:
                self._send(node, message)

    def offer(self, node: NodeId) -> None:
        """Compare rosters with a member that just came."""
        self._send(node, self._exchange.offer(time.time()))

    def ask(self, node: NodeId) -> None:
        """A member is spoken of whose key is missing here: ask others, a few at a time, until one has it."""
        if self._roster.entry(node) is None and node not in self._missing:
            self._missing[node] = ASK_ROUNDS
            self._ask_soon()

    def _ask_soon(self) -> None:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().call_later(ASK_PAUSE, self._ask)

    def _ask(self) -> None:
        self._asking = None
        self._missing = {
            node: rounds - 1
            for node, rounds in self._missing.items()
            if rounds and self._roster.entry(node) is None
        }
        if self._missing:
            self._offer_to(ASK_FANOUT)
            self._ask_soon()

    def _offer_again(self) -> None:
        self._offering = asyncio.get_running_loop().call_later(self._pause, self._offer_again)
        self._offer_to(1)

    def _offer_to(self, count: int) -> None:
        live = self._live()
        for node in self._rng.sample(live, min(count, len(live))):
            self.offer(node)
