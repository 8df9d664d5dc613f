import socket
from types import SimpleNamespace

import psutil
import pytest

from node.transport import addresses
from node.transport.addresses import (
    BadAddress,
    advertised,
    join,
    local_addresses,
    outward,
    shifted,
    split,
)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8701", ("127.0.0.1", 8701)),
        ("[::1]:0", ("::1", 0)),
        ("node-0.mesh.svc:65535", ("node-0.mesh.svc", 65535)),
    ],
)
def test_split_and_join_are_inverse(address: str, parts: tuple[str, int]) -> None:
    assert split(address) == parts
    assert join(*parts) == address


@pytest.mark.parametrize(
    "address",
    ["", "host", ":1", "host:", "host:65536", "host:-1", "host:x", "::1:5", "[host]:1", "a b:1", "a\n:1",
     "tcp://h:1", "h;i:1", "u@h:1", "h:\u0661", "h" * 300 + ":1"],
)  # fmt: skip
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(BadAddress, match="is no address: expected host:port"):
        split(address)


def test_shifted_keeps_zero_and_refuses_to_overflow() -> None:
    assert shifted("host:8701", 2) == "host:8703"
    assert shifted("[::1]:0", 2) == "[::1]:0"
    with pytest.raises(BadAddress):
        shifted("host:65535", 1)


@pytest.mark.parametrize(
    ("bound", "advertise", "offset", "told"),
    [
        ("127.0.0.1:9", None, 0, "127.0.0.1:9"),
        ("127.0.0.1:9", "example.org", 2, "example.org:9"),
        ("127.0.0.1:9", "example.org:80", 2, "example.org:82"),
        ("[::1]:9", "[fd00::1]", 0, "[fd00::1]:9"),
    ],
)
def test_advertised(bound: str, advertise: str | None, offset: int, told: str) -> None:
    assert advertised(bound, advertise, offset) == told


def test_a_wildcard_is_never_advertised() -> None:
    assert advertised("0.0.0.0:9", None) == f"{outward()}:9"
    assert outward() not in ("0.0.0.0", "::")
    assert outward() in local_addresses(socket.AF_INET)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"lo": ["127.0.0.1"]}, "127.0.0.1"),
        ({"lo": ["127.0.0.1"], "eth0": ["10.0.0.5"]}, "10.0.0.5"),
        ({"eth0": ["169.254.3.4"], "eth1": ["10.0.0.5"]}, "10.0.0.5"),
        ({"lo": ["127.0.0.1"], "eth0": ["169.254.3.4"]}, "169.254.3.4"),
        ({"down0": ["10.0.0.4"], "eth0": ["10.0.0.5"]}, "10.0.0.5"),
        ({"lo": ["127.0.0.1", "::1"], "eth0": ["fe80::1%eth0", "fd00::5"]}, "127.0.0.1"),
    ],
)
def test_a_network_without_a_gateway(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, list[str]], told: str
) -> None:
    """The address of an interface is told where no route leads outwards; on `[::]` one of IPv6 if there is no other."""

    def family(address: str) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in address else socket.AF_INET

    found = {
        name: [SimpleNamespace(address=each, family=family(each)) for each in held]
        for name, held in own.items()
    }
    monkeypatch.setattr(addresses, "_routed", lambda *_: "")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    states = {name: SimpleNamespace(isup=name != "down0") for name in own}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: states)
    assert advertised("0.0.0.0:9", None) == f"{told}:9"
    v6 = "fd00::5" in own.get("eth0", [])
    assert advertised("[::]:9", None) == ("[fd00::5]:9" if v6 else f"{told}:9")
