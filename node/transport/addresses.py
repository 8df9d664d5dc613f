"""What an address is: `host:port`, IPv6 hosts in brackets, and which one to tell others."""

import contextlib
import socket

MAX_LENGTH = 255  # bytes
WILDCARDS = ("0.0.0.0", "::", "*")  # noqa: S104  these are recognised, not bound


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
    wildcard the address of the interface that leads outwards, or loopback when there is none.
    """
    host, port = split(bound)
    if advertise:
        with contextlib.suppress(BadAddress):
            return shifted(advertise, offset)
        return join(advertise.strip("[]"), port)
    return join(outward(), port) if host in WILDCARDS else bound


def outward() -> str:
    """The local address of the route outwards; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737: any address off this host will do
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
