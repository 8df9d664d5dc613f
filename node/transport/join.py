"""The join socket of a member: who proves there that it may join gets its own public key onto the roster.

What is said there, and what proves what: `node.transport.hello`. When the cluster key is replaced, the socket
goes on at the same port with the new pair; connections of before are asked for a new proof.
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import zmq
from structlog import get_logger

from node.security.keyring import KeyRing
from node.security.roster import BadRoster, Entry, Roster
from node.security.tickets import Ticket, TicketRefused, Tickets
from node.security.zap import JOIN as JOIN_DOMAIN
from node.transport.base import SyncContext
from node.transport.hello import (
    UNREADABLE,
    VERSION,
    Hello,
    JoinReason,
    Refusal,
    Welcome,
    decode_hello,
    encode,
)
from node.transport.inlet import Inlet
from node.transport.zmq import Limits, endpoint_address, server_socket

LIMITS = Limits(max_message=16 * 1024, hwm=100)
MAX_REDEEMING = 32
"""Tickets that are being redeemed at a time; each waits for the disk."""
REBIND_PAUSE = 0.02  # seconds: libzmq gives a port up a moment after it was asked to

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Book:
    """What a newcomer is checked against, and written into."""

    ring: KeyRing
    roster: Roster
    tickets: Tickets


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """`me`: this node's entry now. `on_joined`: told of each entry that changed the roster; `on_redeemed`: of
    each use of a ticket. `save`: puts the book on disk; it blocks, and runs on a thread.
    """

    me: Callable[[], Entry]
    on_joined: Callable[[Entry], None]
    on_redeemed: Callable[[Ticket], None]
    save: Callable[[], None]


class JoinServer:
    """Admits to the roster whoever says a sound hello. Made and used on one loop. Raises CannotBind."""

    def __init__(self, context: SyncContext, *, bind: str, book: Book) -> None:
        self._book = book
        self._socket = server_socket(
            context,
            bind=bind,
            pair=book.ring.current.join_server,
            domain=JOIN_DOMAIN.decode(),
            limits=LIMITS,
        )
        self._inlet = Inlet(self._socket, self._received)
        self.bound_address = endpoint_address(self._socket)
        self._house: Household
        self._redeeming: set[asyncio.Task[None]] = set()
        self._rebinding: asyncio.TimerHandle | None = None
        self.refused = 0
        """hellos that were not accepted"""

    def start(self, house: Household) -> None:
        self._house = house
        self._inlet.start()

    def close(self) -> None:
        for task in self._redeeming:
            task.cancel()
        if self._rebinding is not None:
            self._rebinding.cancel()
        self._inlet.stop()
        self._socket.close()

    def rekey(self) -> None:
        """Go on with the pair of the key that counts now."""
        pair = self._book.ring.current.join_server
        if self._rebinding is None:
            self._socket.unbind(f"tcp://{self.bound_address}")
        else:
            self._rebinding.cancel()
        self._socket.curve_publickey, self._socket.curve_secretkey = pair.public, pair.secret
        self._bind_again()

    def _bind_again(self) -> None:
        self._rebinding = None
        try:
            self._socket.bind(f"tcp://{self.bound_address}")
        except zmq.ZMQError:
            loop = asyncio.get_running_loop()
            self._rebinding = loop.call_later(REBIND_PAUSE, self._bind_again)

    def _received(self, route: bytes, frame: zmq.Frame) -> None:
        hello = self._checked(str(frame.get("User-Id")).encode(), frame.bytes)
        if isinstance(hello, Refusal):
            self._reply(route, hello)
        elif not hello.ticket:
            self._reply(route, self._enter(hello.entry))
        elif len(self._redeeming) >= MAX_REDEEMING:
            self._reply(route, Refusal(JoinReason.REFUSED, "too many join at once: try again"))
        else:
            task = asyncio.get_running_loop().create_task(self._redeem(route, hello))
            self._redeeming.add(task)
            task.add_done_callback(self._redeeming.discard)

    def _reply(self, route: bytes, answer: Welcome | Refusal) -> None:
        self.refused += isinstance(answer, Refusal)
        try:
            self._socket.send_multipart([route, encode(answer)], zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # it has gone, or asks a hundred times without reading: no answer

    def _checked(self, public_key: bytes, payload: bytes) -> Hello | Refusal:
        """The hello, when it is about the key that it was sent with, and that key may stand on a roster."""
        try:
            hello = decode_hello(payload)
        except UNREADABLE as error:
            return Refusal(JoinReason.VERSION, f"the hello cannot be read: {error}")
        if hello.version != VERSION:
            return Refusal(
                JoinReason.VERSION,
                f"the node speaks join protocol {hello.version}, the mesh {VERSION}: upgrade the older",
            )
        if hello.entry.public_key != public_key:
            return Refusal(JoinReason.REFUSED, "the hello is about another key than it was sent with")
        proof = self._book.ring.current.proof(public_key)
        if not hello.ticket and not hmac.compare_digest(hello.proof, proof):
            return Refusal(JoinReason.WRONG_KEY, "the hello does not prove the key of this mesh")
        return self._unrevoked(hello)

    def _unrevoked(self, hello: Hello) -> Hello | Refusal:
        try:
            hello.entry.check()
        except BadRoster as error:
            return Refusal(JoinReason.REFUSED, str(error))
        known = self._book.roster.entry(hello.entry.id)
        if known is not None and known.revoked:
            return Refusal(
                JoinReason.REVOKED,
                f"node {known.id} was revoked: it needs a new data directory, or `collect token readmit-node`",
            )
        return hello

    def _enter(self, entry: Entry) -> Welcome | Refusal:
        try:
            changed = self._book.roster.join([entry.judged(0)])
        except BadRoster as error:
            return Refusal(JoinReason.REFUSED, str(error))
        if changed:
            self._house.on_joined(entry)
        return Welcome(VERSION, self._house.me(), self._book.roster.entries())

    async def _redeem(self, route: bytes, hello: Hello) -> None:
        """The use is counted here at once, and on disk before the newcomer hears of it."""
        book, node = self._book, hello.entry.id
        try:
            ticket = book.tickets.redeem(hello.ticket, node, time.time())
        except (TicketRefused, BadRoster) as error:
            self._reply(route, Refusal(JoinReason.TICKET, str(error)))
            return
        self._house.on_redeemed(ticket)
        answer = self._enter(hello.entry)
        if isinstance(answer, Welcome):
            answer = msgspec.structs.replace(answer, key=book.ring.current.packed())
        try:
            await asyncio.to_thread(self._house.save)
        except OSError as error:
            log.error("a join token's use cannot be saved", error=str(error))
            answer = Refusal(JoinReason.REFUSED, "the member cannot write its disk: try another")
        self._reply(route, answer)


def unproven_hello() -> bytes:
    """A hello that must be refused, for the self-test."""
    return encode(Hello(VERSION, Entry(public_key=b"0" * 40)))
