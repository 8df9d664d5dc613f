"""A hello over a long way: how often it goes to and fro, that there is time for that, and that it may break once."""

import asyncio
import contextlib
import itertools

from node.transport.addresses import split
from node.transport.introduce import WITHIN, introduce
from tests.node.transport.kit import new_keys
from tests.node.transport.test_join import Member, entry

SATELLITE = 0.8
"""seconds there and back"""


class Relay:
    """Passes connections on to an address; `turns` notes who of the two spoke, in order."""

    def __init__(self, address: str) -> None:
        self._host, self._port = split(address)
        self.connections = 0
        self.turns: list[str] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._passing: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        answers, questions = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, questions]
        for who, source, sink in (("client", reader, questions), ("server", answers, writer)):
            self._passing.append(asyncio.create_task(self._pass(who, source, sink)))

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._passing)

    async def _pass(self, who: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                self.turns.append(who)
                sink.write(data)

    def trips(self) -> int:
        """There and back; each connection costs one before anything is said."""
        return self.connections + sum(who == "client" for who, _ in itertools.groupby(self.turns))


class Breaking(Relay):
    """The first connection on which the client speaks breaks right then."""

    broken = False

    async def _pass(self, who: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        if who == "client" and not self.broken and await source.read(1):
            self.broken = True
            for writer in self._writers:
                writer.transport.abort()
        else:
            await super()._pass(who, source, sink)


async def hello_through(kind: type[Relay]) -> Relay:
    """The relay after a hello that was answered."""
    with contextlib.ExitStack() as stack:
        member, keys = Member(stack), new_keys()
        relay = kind(member.server.bound_address)
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            answer = await introduce(
                member.context, address, cluster=member.cluster, pair=keys.pair, me=entry(keys)
            )
        await relay.close()
    assert answer.server == entry(member.keys)
    return relay


async def test_there_is_time_for_a_hello_over_a_satellite() -> None:
    relay = await hello_through(Relay)
    assert relay.trips() >= 5
    assert relay.trips() * SATELLITE < WITHIN


async def test_a_connection_that_breaks_in_its_handshake_is_no_wrong_key() -> None:
    relay = await hello_through(Breaking)
    assert isinstance(relay, Breaking)
    assert relay.broken
