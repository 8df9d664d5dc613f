"""Seeds and DNS: real resolution, of `localhost` and of a small DNS server on loopback."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from node.discovery.dns import resolve
from node.discovery.seeds import Seeds
from node.transport.addresses import BadAddress
from tests.node.transport.kit import until

SERVICE = "_collect-node._tcp.example.org"


class Server(asyncio.DatagramProtocol):
    """Answers SRV questions from `records`; other names do not exist."""

    def __init__(self) -> None:
        self.records: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if question.question[0].name.to_text(omit_final_dot=True) == SERVICE:
            answer.answer.append(dns.rrset.from_text_list(f"{SERVICE}.", 60, "IN", "SRV", self.records))
        else:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self.transport is not None
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, dns.asyncresolver.Resolver]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    resolver.cache = None
    yield server, resolver
    transport.close()
    await asyncio.sleep(0)


async def test_literals_and_names() -> None:
    assert await resolve("192.0.2.1:8701") == ["192.0.2.1:8701"]
    assert await resolve("[fd00::1]:8701") == ["[fd00::1]:8701"]
    assert "127.0.0.1:8701" in await resolve("localhost:8701")


async def test_an_unknown_name_is_no_address_and_no_error() -> None:
    assert await resolve("no-such-host.invalid:8701") == []


async def test_service_records_bring_their_ports(
    server: tuple[Server, dns.asyncresolver.Resolver],
) -> None:
    records, resolver = server
    records.records = ["10 1 9001 127.0.0.1.", "10 1 9002 127.0.0.2."]
    assert await resolve(SERVICE, resolver) == ["127.0.0.1:9001", "127.0.0.2:9002"]
    records.records = ["10 1 9003 127.0.0.3."]
    assert await resolve(SERVICE, resolver) == ["127.0.0.3:9003"]


async def test_an_absent_service_is_no_error(server: tuple[Server, dns.asyncresolver.Resolver]) -> None:
    assert await resolve("_other._tcp.example.org", server[1]) == []


@pytest.mark.parametrize("entry", ["host", "host:0x", "_a:1", "_tcp.org", ""])
def test_what_is_neither_is_named_at_once(entry: str) -> None:
    with pytest.raises(BadAddress, match="expected"):
        Seeds([entry], rng=random.Random(1))


async def test_seeds_are_proposed_again_and_again() -> None:
    proposed: list[tuple[str, ...]] = []
    seeds = Seeds(["192.0.2.1:8701", "192.0.2.2:65535"], rng=random.Random(1))
    task = asyncio.ensure_future(seeds.run(lambda *addresses: proposed.append(addresses)))
    await until(lambda: len(proposed) >= 4)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert proposed[:2] == [("192.0.2.1:8703", "192.0.2.1:8701"), ("192.0.2.2:65535",)]
    assert proposed[2:4] == proposed[:2]


async def test_addresses_of_a_token_are_taken_as_they_are() -> None:
    proposed: list[tuple[str, ...]] = []
    task = asyncio.ensure_future(
        Seeds(["192.0.2.1:8703"], rng=random.Random(1), exact=True).run(
            lambda *addresses: proposed.append(addresses)
        )
    )
    await until(lambda: proposed)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert proposed[0] == ("192.0.2.1:8703",)
