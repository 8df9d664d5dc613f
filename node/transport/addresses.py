"""What an address is: `host:port`, IPv6 hosts in brackets, and which one to tell others."""

import contextlib
import ipaddress
import socket

import psutil

MAX_LENGTH = 255  # bytes
WILDCARDS = ("0.0.0.0", "::", "*")  # noqa: S104  these are recognised, not bound


LOOPBACK = "127.0.0.1"
ELSEWHERE, ELSEWHERE_V6 = "192.0.2.1", "2001:db8::1"
"""For documentation (RFC 5737, RFC 3849): any address off this host will do."""


class BadAddress(ValueError):
    """Not `host:port`; the message names the value and what is expected."""


def split(address: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[v6]:port`; port 0 to 65535. Raises BadAddress."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    sound = (
        colon
        and host
        and port.isascii()
        and port.isdigit()
        and int(port) <= 65535
        and (":" in host) == bracketed
    )
    if (
        not sound
        or len(address.encode("utf-8", "replace")) > MAX_LENGTH
        or not host.isprintable()
        or set(host) & set(" /;@")
    ):
        raise BadAddress(f"{address[:MAX_LENGTH]!r} is no address: expected host:port or [IPv6]:port")
    return host, int(port)


def join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shifted(address: str, offset: int) -> str:
    """The address `offset` ports further; port 0 (pick a free one) stays 0. Raises BadAddress past 65535."""
    host, port = split(address)
    moved = join(host, port + offset if port else 0)
    split(moved)
    return moved


def advertised(bound: str, advertise: str | None, offset: int = 0) -> str:
    """What others shall dial for a socket bound at `bound`, the plane `offset` ports above `mesh.bind`.

    `advertise`: a host (the bound port is kept) or `host:port` of offset 0; None: the bound host, or for a
    wildcard what `outward` finds.
    """
    host, port = split(bound)
    if advertise:
        with contextlib.suppress(BadAddress):
            return shifted(advertise, offset)
        return join(advertise.strip("[]"), port)
    return join(outward(v6=host == "::"), port) if host in WILDCARDS else bound


def outward(*, v6: bool = False) -> str:
    """The address of this host that others are most likely to reach; loopback when it has no other.

    That of the route outwards; without one (a network of its own, with no gateway) that of an interface. `v6`: an
    IPv6 address will do where there is none of IPv4. Nothing is sent to find it.
    """
    found = _routed(socket.AF_INET, ELSEWHERE) or _of_interface(socket.AF_INET)
    if v6 and not found:
        found = _routed(socket.AF_INET6, ELSEWHERE_V6) or _of_interface(socket.AF_INET6)
    return found or LOOPBACK


def _routed(family: socket.AddressFamily, there: str) -> str:
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((there, 9))
        return str(probe.getsockname()[0])
    return ""


def _of_interface(family: socket.AddressFamily) -> str:
    """Of the first that is up; those that a network gave come before those that the host made up."""
    found = [ipaddress.ip_address(each) for each in local_addresses(family) if "%" not in each]
    usable = sorted((each for each in found if not each.is_loopback), key=lambda each: each.is_link_local)
    return str(usable[0]) if usable else ""


def local_addresses(*families: socket.AddressFamily) -> list[str]:
    """Of all interfaces that are up, as they come; those of IPv6 that need one named end in `%name`."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    return [
        each.address
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if name in up and each.family in families
    ]
