"""mDNS over real multicast where this host has it, under a service name of the tests' own."""

import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable

import pytest
from zeroconf import ServiceInfo, ServiceStateChange
from zeroconf.asyncio import AsyncZeroconf

from gossip.identity import NodeId
from node.discovery import mdns
from node.discovery.mdns import Browser, Found, Mdns, find, read
from node.transport.addresses import BadAddress
from tests.node.discovery.proposing import proposing
from tests.node.transport.kit import until

Proposed = list[tuple[str, ...]]


@pytest.fixture
async def service() -> str:
    """A service name nobody else uses; skips where multicast does not come back to this host."""
    name = f"_ct-{secrets.token_hex(4)}._tcp.local."
    async with advertised("probe", Found("probe", "", "127.0.0.1:1"), name):
        if not await find(5.0, name):
            pytest.skip("no multicast on this host")
    return name


def advertised(node: str, me: Found, service: str) -> contextlib.AbstractAsyncContextManager[Proposed]:
    return proposing(Mdns(NodeId(node), me, service=service))


async def test_nodes_of_one_mesh_propose_each_other_and_no_others(service: str) -> None:
    async with (
        advertised("a", Found("one", "eu", "192.0.2.1:8703"), service) as first,
        advertised("b", Found("one", "eu", "192.0.2.2:8703"), service) as second,
        advertised("c", Found("two", "eu", "192.0.2.3:8703"), service) as stranger,
    ):
        await until(lambda: first and second)
        assert len(await find(0.5, service)) >= 1
    assert set(first) == {("192.0.2.2:8703",)}
    assert set(second) == {("192.0.2.1:8703",)}
    assert stranger == []


async def test_the_search_finds_what_is_advertised(service: str) -> None:
    me = Found("mesh-id", "eu", "192.0.2.1:8703")
    async with advertised("a", me, service):
        assert await find(10.0, service) == [me]


async def test_nobody_there_is_an_empty_answer() -> None:
    assert await find(0.2, f"_ct-{secrets.token_hex(4)}._tcp.local.") == []


def service_info(service: str, node: str, mesh: str, join: str) -> ServiceInfo:
    return ServiceInfo(
        service,
        f"{node}.{service}",
        port=1,
        properties={"mesh": mesh, "join": join},
        server=f"{node}.local.",
        addresses=[bytes([192, 0, 2, 9])],
    )


async def test_a_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns, "MAX_CANDIDATES", 3)
    async with flooded(lambda _: False) as (browser, proposed):
        for number in range(6):
            announce(browser, f"n{number}", f"192.0.2.9:{number + 1}")
        await until(lambda: len(proposed) == 6)
        assert len(browser.found) == 3


@pytest.mark.parametrize("known", [True, False])
async def test_ten_thousand_false_names_do_not_shut_a_true_one_out(
    monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """They answer nothing when they are looked up. Who is on our roster does not wait for that; who is not
    waits its turn among those that do, here made few. What came before goes on being known.
    """
    monkeypatch.setattr(mdns, "MAX_WAITING", 4)
    async with flooded(lambda node: known and node == "true") as (browser, proposed):
        announce(browser, "before", "192.0.2.9:6")
        await until(lambda: proposed)
        for number in range(10_000):
            announce(browser, f"false{number}", None)
        assert len(browser._tasks) <= mdns.MAX_LOOKUPS
        assert len(browser._waiting) <= mdns.MAX_WAITING
        waiting = set(browser._tasks)
        announce(browser, "true", "192.0.2.9:7")
        await until(lambda: len(proposed) == 2)
        assert proposed[1] == Found("one", "", "192.0.2.9:7")
        assert known == (not any(task.done() for task in waiting)), "it waited for the false ones"
        assert {found.join for found in browser.found.values()} == {"192.0.2.9:6", "192.0.2.9:7"}


SERVICE = "_ct-flood._tcp.local."


def announce(browser: Browser, node: str, join: str | None) -> None:
    """What zeroconf tells a browser of a name, and has from the network where it was told more than the name."""
    name = f"{node}.{SERVICE}"
    if join is not None:
        info = ServiceInfo(
            SERVICE,
            name,
            port=1,
            properties={"mesh": "one", "join": join},
            server=f"{node}.local.",
            addresses=[bytes([192, 0, 2, 9])],
        )
        records = [info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()]
        browser._zeroconf.cache.async_add_records(records)
    browser._changed(browser._zeroconf, SERVICE, name, ServiceStateChange.Added)


@contextlib.asynccontextmanager
async def flooded(known: Callable[[NodeId], bool]) -> AsyncIterator[tuple[Browser, list[Found]]]:
    """A browser over a real zeroconf, and what it has found."""
    proposed: list[Found] = []
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    browser = Browser(zeroconf, SERVICE, proposed.append, known=known, rng=random.Random(1))
    try:
        yield browser, proposed
    finally:
        await browser.close()
        await zeroconf.async_close()


async def test_no_multicast_is_said_and_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> AsyncZeroconf:
        raise OSError(19, "No such device")

    monkeypatch.setattr(mdns, "AsyncZeroconf", refuse)
    proposed: Proposed = []
    me = Found("one", "", "192.0.2.1:8703")
    await Mdns(NodeId("a"), me).run(lambda *addresses: proposed.append(addresses))
    assert await find(3.0) == []
    assert proposed == []


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {b"join": b"no address"},
        {b"join": b"host:0"},
        {b"join": None},
        {b"join": b"\xff\xff:1"},
        {b"mesh": b"\xff", b"join": b"h:1"},
        {b"join": b"h" * 300 + b":1"},
    ],
)
def test_bad_texts_are_rejected(properties: dict[bytes, bytes | None]) -> None:
    with pytest.raises((BadAddress, UnicodeDecodeError)):
        read(properties)


def test_an_interface_that_goes_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise OSError(101, "Network is unreachable")
    except OSError:
        logging.getLogger("zeroconf").warning("Error with socket 44", exc_info=True)
    assert "Error with socket 44" in caplog.text
    assert "Traceback" not in caplog.text
