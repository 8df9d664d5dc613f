"""The driver of the SWIM machine: events in, effects out, and the roster exchange beside it."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

import msgspec
from structlog import get_logger

from gossip.effects import (
    Changed,
    Conflict,
    Contact,
    Event,
    Forget,
    Lagged,
    Leave,
    Left,
    Readmit,
    Received,
    Send,
    Tick,
)
from gossip.identity import Boot, NodeId
from gossip.member import LIVE, Member, State
from gossip.swim import Swim
from node.clock import boottime
from node.membership_config import Identity, Settings
from node.security.durable import replace
from node.security.keeper import Keeper
from node.security.keys import ClusterKey
from node.security.roster import BadRoster, Entry
from node.security.spread import Spread
from node.security.tickets import Ticket
from node.transport.addresses import advertised, shifted
from node.transport.alarm import Alarm
from node.transport.base import SyncContext
from node.transport.introduce import JoinAnswer
from node.transport.introductions import Introductions
from node.transport.join import Book, Household, JoinServer
from node.transport.zmq import Plane

CONTACTS_FILE = "contacts"
JOIN_OFFSET = 2  # ports from mesh.bind to the join socket
SWIM = b"\x01\x01"
ROSTER = b"\x01\x02"
"""The first two bytes of each message: the version of this framing, and whose message it is."""

MAX_SOUGHT = 16  # nodes of one roster message that are looked for when gossip has not brought them
SAVE_PAUSE = 2.0  # seconds between two looks at what is to be saved
SAVE_SOON = 0.05  # seconds from a new member to its being saved: several that come together are saved once
TOKEN_ADDRESSES = 3  # join sockets that a one-time token names
OFFERS_PER_SYNC = 3  # roster offers in the time between two push-pulls

log = get_logger(__name__)

Tell = Callable[[Changed | Conflict], None]


class Driver:
    """Made and used on the membership loop, but for `members`, `heard`, `refusing` and `left`, which any thread may
    read."""

    def __init__(self, context: SyncContext, identity: Identity, settings: Settings, tell: Tell) -> None:
        """Raises CannotBind, BadAddress, MetaTooLarge; then nothing is left open."""
        self._identity, self._roster, self._tell = identity, identity.roster, tell
        self._rng = random.Random()
        self._contacts_path = settings.data_dir / CONTACTS_FILE
        self._saving = threading.Lock()
        self._saved = b""
        self._book_saved = (b"", identity.tickets.encode(), identity.ring.digest())
        self._new_member = asyncio.Event()
        with contextlib.ExitStack() as opening:
            self._open(context, settings, opening)
            self._swim = self._machine(settings)
            self._stack = opening.pop_all()
        self.introductions = Introductions(
            context,
            identity.ring,
            pair=identity.keys.pair,
            me=lambda: self._own,
            rng=self._rng,
            on_met=self._met,
        )
        self._spread = Spread(
            self._roster,
            self._rng,
            tickets=identity.tickets,
            ring=identity.ring,
            send=self._send_roster,
            live=self._live,
            protocol=lambda node: self._swim.members[node].meta.protocol,
            lives=self._speaks_in,
            on_learned=self._learned,
            pause=settings.config.sync_interval / OFFERS_PER_SYNC,
        )
        self.keeper = Keeper(
            identity.keys.id,
            ring=identity.ring,
            roster=self._roster,
            tickets=identity.tickets,
            spread=self._spread,
            addresses=self._join_addresses,
            save=self._save_book,
        )
        self._probe_interval = settings.config.probe_interval
        self._dialled: dict[NodeId, float] = {}
        self._loop = asyncio.get_running_loop()
        self.alarm = Alarm(self._loop, boottime, on_due=self._tick, on_late=self._late)
        self._closed = False
        self.heard = float("-inf")
        """When another member last said anything here."""
        self._revoked: set[NodeId] = set()
        self._unsubscribe: Callable[[], None] = lambda: None
        self.left = threading.Event()
        self.members: dict[NodeId, Member] = dict(self._swim.members)
        self.refusing: frozenset[NodeId] = frozenset()

    def start(self) -> None:
        self._unsubscribe = self._roster.subscribe(self._roster_changed)
        self._roster.join([self._own])
        self._obey_verdicts(self._roster.view.entries)
        self._plane.on_refused = self._turned_away
        self._plane.start(self._received)
        self._join.start(
            Household(
                me=lambda: self._own,
                on_joined=self._joined,
                on_redeemed=self._redeemed,
                save=self._save_book,
            )
        )
        self._identity.ring.on_change = self._key_changed
        self._spread.start()
        self._tick()

    async def close(self) -> None:
        self._closed = True
        self._unsubscribe()
        self.alarm.cancel()
        self._spread.close()
        await self.introductions.close()
        self._stack.close()
        self._save(self._swim.contacts())

    def handle(self, event: Event) -> None:
        """Give the machine an event and do what it wants; after `close` nothing any more."""
        if self._closed:
            return
        effects = self._swim.handle(event, boottime())
        if any(isinstance(effect, Changed) for effect in effects):
            self.members = dict(self._swim.members)  # before the news of it: who is told looks here
        for effect in effects:
            match effect:
                case Send(to, address, payload):
                    self._send(to, address, SWIM + payload)
                case Changed():
                    self._changed(effect)
                case Conflict():
                    self._tell(effect)
                case Left():
                    self.left.set()
                case _:
                    assert_never(effect)
        self.alarm.set(self._swim.due())

    def leave(self) -> None:
        self.handle(Leave())

    def propose(self, addresses: tuple[str, ...], *, guess: bool = False) -> None:
        """Greet whoever may be there, unless a live member is. `guess`: nobody vouches for it."""
        if self._closed:
            return
        there = {member.meta.join for member in self._swim.members.values() if member.state in LIVE}
        if there.isdisjoint(addresses):
            self.introductions.greet(addresses, guess=guess)

    @property
    def refused(self) -> int:
        return self._plane.unlisted + self._join.refused

    @property
    def failures(self) -> dict[str, str]:
        """Join addresses that were proposed and did not take us, with the reason."""
        return dict(self.introductions.failures)

    async def keep_saved(self) -> None:
        """Put contacts and roster on disk soon after they changed, off this loop; ends by cancellation.

        New members at once: if all nodes die together, nobody else can tell this one where they are.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._new_member.wait(), SAVE_PAUSE)
                self._new_member.clear()
                await asyncio.sleep(SAVE_SOON)
            try:
                await asyncio.to_thread(self._save, self._swim.contacts())
            except (OSError, RuntimeError) as error:  # the latter where there can be no more threads
                log.warning("contacts and roster cannot be saved", error=str(error))

    def _open(self, context: SyncContext, settings: Settings, opening: contextlib.ExitStack) -> None:
        mine = self._identity
        self._plane = Plane(context, bind=settings.bind, keys=mine.keys, roster=self._roster)
        opening.callback(self._plane.close)
        join_bind = shifted(settings.bind, JOIN_OFFSET)
        book = Book(mine.ring, mine.roster, mine.tickets)
        self._join = JoinServer(context, bind=join_bind, book=book)
        opening.callback(self._join.close)
        self.bound = self._plane.bound_address, self._join.bound_address
        self.address = advertised(self._plane.bound_address, settings.advertise)
        self.join_address = advertised(self._join.bound_address, settings.advertise, JOIN_OFFSET)

    def _machine(self, settings: Settings) -> Swim:
        meta = msgspec.structs.replace(settings.meta, join=self.join_address)
        keys, boot = self._identity.keys, self._identity.boot
        self._own = Entry(
            public_key=keys.pair.public,
            boot=boot,
            name=meta.name,
            gossip=self.address,
            bulk=settings.bulk,
            join=self.join_address,
        )
        return Swim(
            me=keys.id,
            boot=boot,
            address=self.address,
            meta=meta,
            config=settings.config,
            rng=self._rng,
            contacts=load_contacts(self._contacts_path),
        )

    def _tick(self) -> None:
        self._plane.drain()
        self.handle(Tick())

    def _late(self, seconds: float) -> None:
        """What has arrived meanwhile is heard before anything is judged."""
        self._plane.drain()
        self.handle(Lagged(seconds))

    def _received(self, sender: NodeId, payload: bytes) -> None:
        self.heard = boottime()
        if self.refusing:
            self.refusing -= {sender}
        kind, body = payload[:2], payload[2:]
        if kind == SWIM:
            self.handle(Received(sender, body))
        elif kind == ROSTER:
            self._spread.received(sender, body)
        else:
            log.debug("message of an unknown kind", sender=sender, kind=kind.hex())

    def _send(self, to: NodeId, address: str, payload: bytes) -> None:
        self._drop_old(to)
        if to not in self._roster.keys:
            self._spread.ask(to)
        elif not self._plane.send(to, address, payload):
            log.debug("not queued", to=to, address=address)

    def _drop_old(self, to: NodeId) -> None:
        """Do not let what waits for a dead member reach it when a cut heals: it was said long ago, and a death in
        it, of a node that lives, would be believed. Only what was sent since the last dial waits, and that is
        renewed after a probe interval, time enough for a handshake.
        """
        member = self._swim.members.get(to)
        if member is None or member.state in LIVE:
            self._dialled.pop(to, None)
            return
        at = boottime()
        if at - self._dialled.setdefault(to, at) >= self._probe_interval:
            self._dialled[to] = at
            self._plane.disconnect(to)

    def _send_roster(self, to: NodeId, payload: bytes) -> None:
        member, entry = self._swim.members.get(to), self._roster.entry(to)
        address = member.address if member else entry.gossip if entry else ""
        if address:
            self._send(to, address, ROSTER + payload)

    def _live(self) -> list[NodeId]:
        me = self._identity.keys.id
        return sorted(id_ for id_, member in self._swim.members.items() if member.state in LIVE and id_ != me)

    def _speaks_in(self, node: NodeId) -> Boot | None:
        member = self._swim.members.get(node)
        return member.boot if member is not None and member.state in LIVE else None

    def _changed(self, effect: Changed) -> None:
        self._tell(effect)
        member, me = effect.member, self._identity.keys.id
        if member.id == me:
            return
        if member.state in (State.DEAD, State.LEFT):
            self._plane.disconnect(member.id)
        elif effect.before not in LIVE:
            self._new_member.set()
            self._spread.offer(member.id)

    def _roster_changed(self, ids: frozenset[NodeId]) -> None:
        """Called on whichever thread changed it."""
        with contextlib.suppress(RuntimeError):  # this loop has ended
            self._loop.call_soon_threadsafe(self._obey_verdicts, ids)

    def _obey_verdicts(self, ids: Iterable[NodeId]) -> None:
        for node in sorted(ids):
            entry = self._roster.entry(node)
            if entry is not None and entry.revoked:
                log.warning("revoked", node=node, name=entry.name)
                self._revoked.add(node)
                self.handle(Forget(node))
            elif entry is not None and node in self._revoked:
                log.info("admitted again", node=node, name=entry.name)
                self._revoked.remove(node)
                self.handle(Readmit(node))
                self._learned(frozenset([node]))

    def _learned(self, ids: frozenset[NodeId]) -> None:
        """Entries came with the news; gossip, which makes members of them, is given a moment to come."""
        self._loop.call_later(self._probe_interval, self._seek, sorted(ids)[:MAX_SOUGHT])

    def _seek(self, ids: list[NodeId]) -> None:
        for node in ids:
            entry = self._roster.entry(node)
            member = self._swim.members.get(node)
            absent = member is None or member.state not in LIVE
            if absent and entry is not None and entry.gossip and not entry.revoked:
                self.handle(Contact(node, entry.gossip))

    def _joined(self, entry: Entry) -> None:
        """A newcomer said hello here."""
        log.info("joined", node=entry.id, name=entry.name, address=entry.gossip)
        self._spread.news([entry.id])

    def _redeemed(self, ticket: Ticket) -> None:
        log.info("a join token was used", token=ticket.id, uses=len(ticket.used), of=ticket.uses)
        self._spread.ticket_news(ticket)

    def _key_changed(self, key: ClusterKey) -> None:
        log.info("the key of the mesh was replaced", generation=key.generation)
        self._join.rekey()
        self._new_member.set()

    def _join_addresses(self) -> list[str]:
        """Our own join socket, and those of a few others in case we are down when a token is used."""
        live = [self._swim.members[node].meta.join for node in self._live()]
        return [self.join_address, *[address for address in live if address][: TOKEN_ADDRESSES - 1]]

    def _met(self, answer: JoinAnswer) -> None:
        try:
            self._spread.met(answer.roster)
        except BadRoster as error:
            log.warning("roster rejected", sender=answer.server.id, error=str(error))
            return
        self.handle(Contact(answer.server.id, answer.server.gossip))

    def _turned_away(self, node: NodeId) -> None:
        """A member does not know our key: the news is still under way, or it lost its roster."""
        self.refusing |= {node}
        entry = self._roster.entry(node)
        if entry is not None and entry.join:
            self.introductions.greet((entry.join,))

    def _save(self, contacts: list[tuple[NodeId, str]]) -> None:
        with self._saving:
            encoded = msgspec.msgpack.encode(contacts)
            if encoded != self._saved:
                replace(self._contacts_path, encoded)
            self._saved = encoded
        self._save_book()

    def _save_book(self) -> None:
        """Roster, tickets and key, where they changed; on whichever thread."""
        mine = self._identity
        with self._saving:
            held = self._roster.digest(), mine.tickets.encode(), mine.ring.digest()
            for now_held, saved, save in zip(
                held, self._book_saved, (self._roster.save, mine.tickets.save, mine.ring.save), strict=True
            ):
                if now_held != saved:
                    save()
            self._book_saved = held


def load_contacts(path: Path) -> list[tuple[NodeId, str]]:
    """Whom an earlier life knew; none, with a warning, when the file is damaged: seeds remain."""
    if not path.exists():
        return []
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[NodeId, str]])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("contacts are damaged and were ignored", path=str(path), error=str(error))
        return []
