"""The aiohttp side of the network rules: names are resolved, and sockets opened, under them only."""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from plugins.http import NetworkRules

CONNECT_TIMEOUT = 10.0
"""seconds; total and read time-outs are the request's business"""


class RuledResolver(AbstractResolver):
    """The system's resolver, less the addresses that the rules refuse; if none is left, the refusal is
    raised.
    """

    def __init__(self, rules: NetworkRules) -> None:
        self._rules = rules
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        allowed = [result for result in found if self._rules.refusal(result["host"]) is None]
        if found and not allowed:
            self._rules.check(host, found[0]["host"])
        return allowed

    async def close(self) -> None:
        await self._system.close()


def open_session(rules: NetworkRules, connections_per_host: int) -> aiohttp.ClientSession:
    """A session that connects to allowed addresses only; a literal address is caught when its socket is
    made.
    """

    def ruled_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        rules.check(str(address[0]), str(address[0]))
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made

    connector = aiohttp.TCPConnector(
        resolver=RuledResolver(rules),
        socket_factory=ruled_socket,
        limit=256,
        limit_per_host=connections_per_host,
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT),
        headers={"User-Agent": "collect-node"},
    )
