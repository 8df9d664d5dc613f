"""Which addresses plugins may connect to: the table, the spellings, names that resolve to something else,
redirects.
"""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult
from aiohttp.test_utils import TestServer

from plugins.api import Permanent
from plugins.http import NetworkRules, Web
from plugins.http_connector import RuledResolver

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2001:10::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::5"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Permanent) as caught:
        NetworkRules().check("host.example", address)
    assert caught.value.code == "network"
    assert "host.example" in str(caught.value)
    assert address in str(caught.value)
    assert "[network] allow" in str(caught.value)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str) -> None:
    assert NetworkRules().refusal(address) is None


def test_the_order_is_deny_allow_default() -> None:
    rules = NetworkRules(allow=["10.0.0.0/8", "::1/128"], deny=["10.0.0.5/32", "8.8.8.0/24"])
    assert rules.refusal("10.0.0.4") is None
    assert rules.refusal("::ffff:10.0.0.4") is None
    assert rules.refusal("::1") is None
    assert rules.refusal("10.0.0.5") == "denied"
    assert rules.refusal("::ffff:10.0.0.5") == "denied"
    assert rules.refusal("8.8.8.8") == "denied"
    assert rules.refusal("192.168.0.1") == "private"
    with pytest.raises(Permanent, match=r"\[network\] deny"):
        rules.check("x", "8.8.8.8")


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        NetworkRules(allow=["10.0.0.1/8"])


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="reached")

    app = web.Application()
    app.router.add_get("/", answer)
    made = TestServer(app, host="127.0.0.1")
    await made.start_server()
    yield made
    await made.close()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1",
     "127.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "127.0.0.1.", "LOCALHOST", "[::1]", "[::]", "0"],
)  # fmt: skip
async def test_no_spelling_of_loopback_is_connected_to(server: TestServer, host: str) -> None:
    pool = Web(NetworkRules())
    try:
        with pytest.raises((Permanent, aiohttp.InvalidURL)) as caught:
            await pool.session().get(f"http://{host}:{server.port}/")
        assert isinstance(caught.value, aiohttp.InvalidURL) or "[network] allow" in str(caught.value)
    finally:
        await pool.close()


async def test_an_allowed_network_is_reached_and_the_session_is_one(server: TestServer) -> None:
    pool = Web(NetworkRules(allow=["127.0.0.0/8"]))
    try:
        assert pool.session() is pool.session()
        for host in ("127.0.0.1", "localhost"):
            async with pool.session().get(f"http://{host}:{server.port}/") as response:
                assert await response.text() == "reached"
    finally:
        await pool.close()


async def test_the_environment_sets_no_proxy(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://203.0.113.1:9")
    monkeypatch.setenv("http_proxy", "http://203.0.113.1:9")
    pool = Web(NetworkRules(allow=["127.0.0.0/8"]))
    try:
        async with pool.session().get(f"http://127.0.0.1:{server.port}/") as response:
            assert response.status == 200
    finally:
        await pool.close()


class Rebinding:
    """A resolver whose answers change with each question."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._answers.pop(0)
        ]

    async def close(self) -> None:
        pass


async def test_each_resolution_is_checked_anew_and_mixed_answers_are_filtered() -> None:
    resolver = RuledResolver(NetworkRules())
    resolver._system = Rebinding(["8.8.8.8", "127.0.0.1"], ["10.0.0.1", "127.0.0.1"])  # type: ignore[assignment]
    assert [found["host"] for found in await resolver.resolve("rebind.example")] == ["8.8.8.8"]
    with pytest.raises(Permanent, match=r"rebind\.example.*10\.0\.0\.1"):
        await resolver.resolve("rebind.example")
