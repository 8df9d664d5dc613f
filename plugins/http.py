"""Which hosts plugins may talk to, and the one pooled HTTP session of a process that holds to it.

The rules are applied to the address that is really connected to, at each connect: a name that resolves to
something else the second time, a redirect, or another spelling of an address changes nothing. Order: what
`[network] deny` names is refused, then what `[network] allow` names is allowed, then what is not public is
refused.
"""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plugins.api import Permanent

if TYPE_CHECKING:
    import aiohttp

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_REDIRECTS = 5
"""for each request; plugins pass it on, since a session cannot hold it"""

CONNECTIONS_PER_HOST = 16

_REFUSED: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), reason)
    for network, reason in (
        # IANA special-purpose registries (RFC 6890) and what clouds answer with credentials on.
        ("169.254.169.254/32", "a cloud metadata address"),
        ("168.63.129.16/32", "a cloud metadata address"),
        ("100.100.100.200/32", "a cloud metadata address"),
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared address space (carrier-grade NAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved (6to4 relay)"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("fd00:ec2::254/128", "a cloud metadata address"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 form (mapped)"),
        ("::/96", "an IPv4 address in IPv6 form (compatible)"),
        ("64:ff9b::/96", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
        ("2001::/32", "an IPv4 address in a tunnel (Teredo)"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "an IPv4 address in a tunnel (6to4)"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private (site-local)"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")


class NetworkRules:
    """`allow`, `deny`: CIDR networks as in `[network]`. Raises ValueError for what is none."""

    def __init__(self, allow: Iterable[str | Network] = (), deny: Iterable[str | Network] = ()) -> None:
        self.allow = tuple(ipaddress.ip_network(network) for network in allow)
        self.deny = tuple(ipaddress.ip_network(network) for network in deny)

    def refusal(self, address: str) -> str | None:
        """Why this IP address is not to be connected to; None if it may be."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        forms = _forms(ip)
        if _any(forms, self.deny):
            return "denied"
        if _any(forms, self.allow):
            return None
        for network, reason in _REFUSED:
            if ip in network:
                return reason
        return "reserved" if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_V6 else None

    def check(self, host: str, address: str) -> None:
        """Raises Permanent (code "network") that names host, address, reason and remedy."""
        reason = self.refusal(address)
        if reason is None:
            return
        remedy = (
            "take it out of [network] deny in node.toml if that is a mistake"
            if reason == "denied"
            else f'if it is meant, add "{address}" to [network] allow in node.toml'
        )
        raise Permanent(f"host {host!r} is at {address}, which is {reason}; {remedy}", code="network")


class Web:
    """The session of this process, made on first use (on the loop that uses it)."""

    def __init__(self, rules: NetworkRules) -> None:
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> "aiohttp.ClientSession":
        """The pooled session. No proxies and credentials from the environment, no cookies kept."""
        if self._session is None:
            from plugins.http_connector import open_session

            self._session = open_session(self._rules, CONNECTIONS_PER_HOST)
        return self._session

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _forms(ip: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address that the kernel makes of its mapped form."""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (ip,) if mapped is None else (ip, mapped)


def _any(forms: Iterable[Address], networks: Iterable[Network]) -> bool:
    networks = tuple(networks)
    return any(form in network for form in forms for network in networks)
