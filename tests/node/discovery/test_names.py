"""Seeds and DNS: real resolution, of `localhost` and of a small DNS server on loopback; and former places."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from structlog.testing import capture_logs

from node.discovery import formerly
from node.discovery import seeds as seeds_module
from node.discovery.dns import Unresolved, resolve
from node.discovery.formerly import Formerly
from node.discovery.seeds import Seeds
from node.transport.addresses import BadAddress
from tests.node.discovery.proposing import proposing
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


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 64])
async def test_an_unknown_name_is_told(host: str) -> None:
    with pytest.raises(Unresolved, match=re.escape(host)):
        await resolve(f"{host}:8701")


async def test_service_records_bring_their_ports(
    server: tuple[Server, dns.asyncresolver.Resolver],
) -> None:
    records, resolver = server
    records.records = ["10 1 9001 127.0.0.1.", "10 1 9002 127.0.0.2."]
    assert await resolve(SERVICE, resolver) == ["127.0.0.1:9001", "127.0.0.2:9002"]
    records.records = ["10 1 9003 127.0.0.3."]
    assert await resolve(SERVICE, resolver) == ["127.0.0.3:9003"]


async def test_a_target_that_is_unknown_hides_no_other(
    server: tuple[Server, dns.asyncresolver.Resolver],
) -> None:
    records, resolver = server
    records.records = ["10 1 9001 no-such-host.invalid.", "10 1 9002 127.0.0.2."]
    assert await resolve(SERVICE, resolver) == ["127.0.0.2:9002"]
    records.records = ["10 1 9001 no-such-host.invalid."]
    with pytest.raises(Unresolved, match=r"no-such-host\.invalid"):
        await resolve(SERVICE, resolver)


async def test_an_absent_service_is_told(server: tuple[Server, dns.asyncresolver.Resolver]) -> None:
    with pytest.raises(Unresolved, match="NXDOMAIN"):
        await resolve("_other._tcp.example.org", server[1])


async def test_a_host_without_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> dns.asyncresolver.Resolver:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.asyncresolver, "Resolver", none)
    with pytest.raises(Unresolved, match="NoResolverConfiguration"):
        await resolve(SERVICE)


async def test_a_name_whose_server_is_silent_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """And why there is nobody behind a name is told once, until it is found."""
    silent, asked = asyncio.Event(), []

    async def answer(entry: str, _: object) -> list[str]:
        asked.append(entry)
        if entry == "slow:1":
            await silent.wait()
        if asked.count(entry) < 3:
            raise Unresolved(f"{entry} does not resolve")
        return [entry]

    monkeypatch.setattr(seeds_module, "resolve", answer)
    seeds = Seeds(["slow:1", "late:1"], rng=random.Random(1))
    with capture_logs() as told:
        async with proposing(seeds) as proposed:
            await until(lambda: asked.count("late:1") == 2)
            assert seeds.failures == {"late:1": "late:1 does not resolve"}
            await until(lambda: proposed)
    assert proposed[0] == ("late:3", "late:1")
    assert seeds.failures == {}
    assert [each["seed"] for each in told] == ["late:1"]


@pytest.mark.parametrize("entry", ["host", "host:0x", "_a:1", "_tcp.org", ""])
def test_what_is_neither_is_named_at_once(entry: str) -> None:
    with pytest.raises(BadAddress, match="expected"):
        Seeds([entry], rng=random.Random(1))


async def test_seeds_are_proposed_again_and_again() -> None:
    async with proposing(Seeds(["192.0.2.1:8701", "192.0.2.2:65535"], rng=random.Random(1))) as proposed:
        await until(lambda: len(proposed) >= 6)
    both = {("192.0.2.1:8703", "192.0.2.1:8701"), ("192.0.2.2:65535",)}
    assert set(proposed[:2]) == both
    assert all(proposed.count(each) >= 2 for each in both)


async def test_addresses_of_a_token_are_taken_as_they_are() -> None:
    async with proposing(Seeds(["192.0.2.1:8703"], rng=random.Random(1), exact=True)) as proposed:
        await until(lambda: proposed)
    assert proposed[0] == ("192.0.2.1:8703",)


async def test_former_places_are_asked_until_somebody_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formerly, "AFTER", 0.001)
    places = [f"192.0.2.{number}:8703" for number in range(10)]
    proposed: set[tuple[str, ...]] = set()
    former = Formerly(places, rng=random.Random(1), wanted=lambda: len(proposed) < len(places))
    await asyncio.wait_for(former.run(lambda *addresses: proposed.add(addresses)), 10)
    assert proposed == {(place,) for place in places}


async def test_who_has_met_somebody_asks_no_former_places() -> None:
    proposed: list[tuple[str, ...]] = []
    former = Formerly(["192.0.2.1:8703"], rng=random.Random(1), wanted=lambda: False)
    await former.run(lambda *addresses: proposed.append(addresses))
    assert proposed == []
