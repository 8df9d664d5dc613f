"""A hello over a long way: how often it goes to and fro, and that there is time for that."""

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


async def test_there_is_time_for_a_hello_over_a_satellite() -> None:
    with contextlib.ExitStack() as stack:
        member, keys = Member(stack), new_keys()
        relay = Relay(member.server.bound_address)
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            answer = await introduce(
                member.context, address, cluster=member.cluster, pair=keys.pair, me=entry(keys)
            )
        await relay.close()
    assert answer.server == entry(member.keys)
    assert relay.trips() >= 5
    assert relay.trips() * SATELLITE < WITHIN
